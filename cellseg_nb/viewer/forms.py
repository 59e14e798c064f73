"""The form to crop, cut and resample: core ipywidgets around `cellseg_nb.viewer.crops`."""

from cellseg_nb import runtime
from cellseg_nb.errors import UserError
from cellseg_nb.viewer import crops
from cellseg_nb.viewer.source import opened


class CropForm:
    """``box``, ``cube``, ``isotropic``, ``folder`` from fields; `write` and `code` are what the buttons do.

    ``tool``: a widget of `cellseg_nb.viewer.widget` whose box is taken by *Box of the views*, or None.
    """

    def __init__(self, volume, labels=None, voxel_size=None, folder="crops", tool=None):
        import ipywidgets as w

        self.source, self.labels, self.tool = opened(volume, voxel_size), labels, tool
        wide, style = w.Layout(width="540px", max_width="100%"), {"description_width": "215px"}
        self.spans = [
            w.IntRangeSlider(
                value=(0, side), min=0, max=side, description=f"{axis}, from to", layout=wide, style=style
            )
            for axis, side in zip("zyx", self.source.shape)
        ]
        shared = {"layout": wide, "style": style}
        self.cube = w.IntSlider(
            value=0, min=0, max=256, step=8, description="cubes of (voxels; 0: one piece)", **shared
        )
        self.isotropic = w.FloatText(value=0.0, description="voxels of (µm; 0: as they are)", **shared)
        self.folder = w.Text(value=str(folder), description="into the folder", **shared)
        acts = {"Write": self.write, "Export": self.export} | (
            {"Box of the views": self.take} if tool else {}
        )
        self.said = w.HTML()
        fields = [*self.spans, self.cube, self.isotropic, self.folder]
        self.widget = w.VBox([*fields, buttons(acts), self.said])

    @property
    def box(self):
        return [tuple(span.value) for span in self.spans]

    def take(self):
        """Set the sliders to the box that was dragged out on the views."""
        for span, value in zip(self.spans, self.tool.view.box):
            span.value = value

    def write(self):
        """Write the files; says where, or what is wrong. Returns the paths."""
        try:
            options = {"cube": self.cube.value, "isotropic": self.isotropic.value}
            written = crops.crop(self.source, self.box, self.folder.value, self.labels, **options)
        except UserError as error:
            self.said.value = f"<b>Look out:</b> {error}"
            return []
        self.said.value = f"{len(written)} volumes in {written[0].parent}"
        return written

    def code(self):
        """The call for a script."""
        given = (self.box, self.folder.value, self.cube.value, self.isotropic.value, self.source.size)
        return crops.call(*given, labelled=self.labels is not None)

    def export(self):
        self.said.value = f"<pre>{self.code()}</pre>"


def crop(volume, labels=None, voxel_size=None, folder="crops", tool=None):
    """The form, shown; in batch runs its call is printed instead. Returns it. See `CropForm` and
    `crops.crop`."""
    return shown(CropForm(volume, labels, voxel_size, folder, tool))


def buttons(acts):
    """A row of buttons: {words on it: function without arguments}."""
    import ipywidgets as w

    made = [w.Button(description=words) for words in acts]
    for button, act in zip(made, acts.values()):
        button.on_click(lambda _, act=act: act())
    return w.HBox(made)


def shown(form):
    """Show a form, or print its call in batch runs. Returns the form."""
    if runtime.in_batch():
        print(form.code())
    else:
        from IPython.display import display

        display(form.widget)
    return form
