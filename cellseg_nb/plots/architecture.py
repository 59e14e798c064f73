"""A WNet3D drawn from the model itself: its blocks, channels and shapes, as a forward pass finds them."""

from collections import namedtuple

import matplotlib.pyplot as plt
import torch
from torch import nn

from cellseg_nb.plots import basic

Block = namedtuple("Block", "name half level channels sides layers weights")
COLOURS = {"encoder": basic.SKY, "decoder": basic.ORANGE}


def blocks(model, side=64):
    """What a volume of ``side`` voxels a side goes through in a `cellseg_nb.networks.wnet3d.WNet3D`: a list
    of Block(name, half, level, channels, sides, layers, weights), in the order of the pass.

    ``half`` is encoder or decoder; ``level`` how often the sides were halved; ``channels`` and ``sides`` are
    of its output; ``layers`` are words; ``weights`` their number. Found by hooks, so a model that is built
    otherwise is drawn otherwise.
    """
    found, hooks = [], []
    for half in ("encoder", "decoder"):
        for name, block in getattr(model, half).named_children():
            if not any(True for _ in block.parameters()):
                continue  # pooling

            def note(block, _, out, half=half, name=name):
                sides = tuple(out.shape[2:])
                layers = [_words(layer) for layer in block.modules() if not list(layer.children())]
                count = sum(weight.numel() for weight in block.parameters())
                level = round(torch.log2(torch.tensor(side / sides[0])).item())
                found.append(Block(name, half, level, out.shape[1], sides, layers, count))

            hooks.append(block.register_forward_hook(note))
    training = model.training
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, 1, side, side, side, device=next(model.parameters()).device))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return found


def _words(layer):
    if isinstance(layer, nn.ConvTranspose3d):
        return f"up {layer.in_channels} to {layer.out_channels}"
    if isinstance(layer, nn.Conv3d):
        side = layer.kernel_size[0]
        return f"conv {side}x{side}x{side}, {layer.in_channels} to {layer.out_channels}"
    if isinstance(layer, nn.GroupNorm):
        return f"group norm {layer.num_groups}"
    return {"ReLU": "ReLU", "_Dropout": f"dropout {getattr(layer, 'p', 0):g}"}.get(
        type(layer).__name__, type(layer).__name__
    )


def draw(model, side=64):
    """The W: a box a block, deeper where the sides are halved, with its channels and sides; arrows down are
    pooling, up transposed convolutions, dashed lines the skip connections (after Fig. 1d). Returns the
    figure."""
    every = [block for block in blocks(model, side)]
    with plt.rc_context(basic.STYLE):
        figure, ax = plt.subplots(figsize=(13, 5.2))
        shown = [block for block in every if not block.name.startswith("conv_trans")]
        places = {}
        for x, block in enumerate(shown):
            y, height = -1.6 * block.level, 1.0
            gap = 0.8 if block.half == "decoder" else 0
            places[block.half, block.name] = x + gap, y
            box = plt.Rectangle(
                (x + gap - 0.42, y - height / 2),
                0.84,
                height,
                facecolor=COLOURS[block.half],
                alpha=0.55,
                ec="k",
            )
            ax.add_patch(box)
            convolutions = sum(words.startswith("conv") for words in block.layers)
            text = f"{block.channels}\n{block.sides[0]}³\n{convolutions} conv"
            ax.text(x + gap, y, text, ha="center", va="center", fontsize=10.5)
        for half in COLOURS:
            names = [name for own, name in places if own == half]
            for first, second in zip(names, names[1:]):
                _arrow(ax, places[half, first], places[half, second], "-")
            for first, second in zip(names, reversed(names)):
                if first != second and places[half, first][0] < places[half, second][0]:
                    a, b = places[half, first], places[half, second]
                    if a[1] == b[1]:
                        ax.plot([a[0] + 0.42, b[0] - 0.42], [a[1], b[1]], "--", color="0.4", linewidth=1.2)
        ends = (
            [name for own, name in places if own == "encoder"][-1],
            next(n for o, n in places if o == "decoder"),
        )
        _arrow(ax, places["encoder", ends[0]], places["decoder", ends[1]], "-")
        for half, words in (("encoder", "volume → classes"), ("decoder", "classes → volume")):
            xs = [x for (own, _), (x, _) in places.items() if own == half]
            count = sum(block.weights for block in every if block.half == half)
            title = f"{half}: {words}\n{count / 1e6:.2f} million weights"
            ax.text(sum(xs) / len(xs), 1.0, title, ha="center", fontsize=12)
        ax.set(xlim=(-0.7, max(x for x, _ in places.values()) + 0.7), ylim=(-1.6 * 3 - 0.8, 1.9))
        ax.set_axis_off()
    return figure


def _arrow(ax, start, end, style):
    way = dict(arrowstyle="-|>", color="0.25", linestyle=style, shrinkA=0, shrinkB=0)
    ax.annotate("", (end[0] - 0.42, end[1]), (start[0] + 0.42, start[1]), arrowprops=way)


def table(model, side=64):
    """The same in numbers: a table, one row a block: half, block, channels, sides, layers, weights."""
    import pandas

    rows = [
        [block.half, block.name, block.channels, " x ".join(map(str, block.sides)), "; ".join(block.layers)]
        + [block.weights]
        for block in blocks(model, side)
    ]
    return pandas.DataFrame(rows, columns=["half", "block", "channels", "sides", "layers", "weights"])
