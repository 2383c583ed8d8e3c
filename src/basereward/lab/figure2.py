"""The paper's Figure 2 and Table 14 in miniature: which backbone, trained on what, ranks answers to text best.

Source: paper, section 3.5, Figure 2, and appendix D.7, Table 14.
"""

from collections.abc import Mapping
from pathlib import Path

from basereward.lab.table7 import Arm, ArmSizes, held_out, measure, train_arm
from basereward.lab.tables import Claim, Column, TablePlan
from basereward.lab.world import TEXT_KINDS
from basereward.scoring.spec import open_scorer

ALL, VL_TEXT, QWEN2, QWEN3 = "qwen2.5-vl, all", "qwen2.5-vl, text", "qwen2, text", "qwen3, text"
ARMS: Mapping[str, Arm] = {
    ALL: Arm("qwen2_5_vl", "all"),
    VL_TEXT: Arm("qwen2_5_vl", "text"),
    QWEN2: Arm("qwen2", "text"),
    QWEN3: Arm("qwen3", "text"),
}
COLUMNS = (Column("text", "text"), *(Column(kind, kind) for kind in TEXT_KINDS))
CLAIMS = (
    Claim("Text alone is as good for a vision-language backbone as all pairs, or better", VL_TEXT, ALL, "text"),
    Claim("A Qwen2 text backbone is better than the vision-language one", QWEN2, VL_TEXT, "text"),
    Claim("A Qwen3 text backbone is better than the vision-language one", QWEN3, VL_TEXT, "text"),
    Claim("The Qwen3 backbone is better than the Qwen2 one", QWEN3, QWEN2, "text"),
)
NOTES = (
    "Backbones with random weights: nothing of a text model's pretraining, which the paper's finding may rest on, is "
    "here; the text models of all four arms have equal sizes.",
    "All arms take equally many steps; on all pairs a third of the pairs of a step are without images.",
    "The world asks 44 different questions without an image, so that the pairs asked about were trained on: what is "
    "measured is how fast they are learned.",
    "Shares of held-out pairs without images; text is the mean over the two kinds.",
)


def plan_figure(sizes: ArmSizes) -> TablePlan:
    """Return the plan of the figure, as a table."""

    def run(row: str, seed: int, folder: Path) -> Mapping[str, float]:
        model = train_arm(row, ARMS[row], seed, folder, sizes)
        return measure(open_scorer(str(model), device="cpu"), held_out(folder, seed, "text"), folder / "rows" / row)

    return TablePlan("figure2", "Figure 2", tuple(ARMS), COLUMNS, CLAIMS, NOTES, sizes._asdict(), run)
