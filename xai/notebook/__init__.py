"""What a run looks like in a notebook: misses, verdicts, coverage, and drawings, each showing itself.

Objects show themselves as HTML without script, with everything that came from data escaped. A drawing is SVG or PNG, so
that notebooks need neither widgets nor a network.
"""

from xai.notebook.coverage_table import CoverageTable
from xai.notebook.drawing import Chart, Picture
from xai.notebook.misses import Miss, Misses, Verdict

__all__ = ["Chart", "CoverageTable", "Miss", "Misses", "Picture", "Verdict"]
