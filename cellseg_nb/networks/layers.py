"""The layers of a network, read off it by `torch.fx`, for `cellseg_nb.cells.slabs`."""

import operator

import numpy as np
import torch
from torch import fx, nn

NORMS = (nn.GroupNorm, nn.InstanceNorm3d)
NOTHING = (nn.Identity, nn.modules.dropout._DropoutNd)  # in prediction
LAYERS = (*NORMS, *NOTHING, nn.ReLU, nn.LeakyReLU, nn.Conv3d, nn.ConvTranspose3d, nn.MaxPool3d, nn.Upsample)
ADD = (operator.add, operator.iadd, torch.add)


class _Tracer(fx.Tracer):
    """Takes the layers above whole. The root is a function, which owns no layers: they get names here."""

    def is_leaf_module(self, module, name):
        return isinstance(module, LAYERS) or super().is_leaf_module(module, name)

    def path_of_module(self, module):
        name = f"layer{len(self.root._modules)}"
        self.root.add_module(name, module)
        return name

    def call_module(self, module, forward, args, kwargs):
        if type(module).__name__ == "UpCat":  # MONAI's; it asks for the type of what it is given
            x, skipped = args
            return module.convs(torch.cat([skipped, module.upsample(x)], dim=1))
        return super().call_module(module, forward, args, kwargs)


def read(network):
    """[(node, layer)] of a network (any callable) in the order in which they are computed, and the module
    that holds them; None in place of the list where a layer is not known here. ``layer``: a module, a
    function, or the name of a method. Raises whatever a program says of tensors that are none."""
    tracer = _Tracer()
    return _layers(tracer, tracer.trace(lambda x: network(x))), tracer.root


def channels(node, layers):
    """How many channels the features of a layer have, of the ``layers`` {node: layer} of a network that is
    given one."""
    layer, inputs = layers[node], node.all_input_nodes
    if layer is torch.cat:
        return sum(channels(each, layers) for each in inputs)
    if isinstance(layer, (nn.Conv3d, nn.ConvTranspose3d)):
        return layer.out_channels
    return channels(inputs[0], layers) if inputs else 1


def _layers(tracer, graph):
    found = []
    for node in reversed(graph.nodes):
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)
    for node in graph.nodes:
        layer = tracer.root.get_submodule(node.target) if node.op == "call_module" else node.target
        if not _known(node, layer):
            return None
        found.append((node, layer))
    return found


def _known(node, layer):
    if node.op in ("placeholder", "output"):
        return node.op == "placeholder" or isinstance(node.args[0], fx.Node)
    if node.op == "call_method":
        return layer == "sigmoid" or (layer == "softmax" and _axis(node, "dim") == 1)
    if node.op == "call_function":
        if layer in ADD:
            return len(node.args) == len(node.all_input_nodes) == 2
        return layer is torch.sigmoid or (layer is torch.cat and _axis(node, "dim") == 1)
    if isinstance(layer, nn.Conv3d):
        plain = layer.padding_mode == "zeros" and layer.dilation == (1, 1, 1)
        return plain and not isinstance(layer.padding, str)
    if isinstance(layer, nn.ConvTranspose3d):
        outside = (*layer.padding, *layer.output_padding)
        return layer.kernel_size == layer.stride == (2, 2, 2) and not any(outside)
    if isinstance(layer, nn.MaxPool3d):
        return layer.kernel_size in (2, (2, 2, 2)) and layer.stride in (2, (2, 2, 2)) and not layer.padding
    if isinstance(layer, nn.Upsample):
        return (
            set(np.atleast_1d(layer.scale_factor)) == {2}
            and layer.mode == "trilinear"
            and not layer.align_corners
        )
    if isinstance(layer, nn.InstanceNorm3d):
        return not layer.track_running_stats
    return isinstance(layer, LAYERS)


def _axis(node, name):
    return node.args[1] if len(node.args) > 1 else node.kwargs.get(name)
