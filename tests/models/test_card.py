"""The model card: made of the folder's own files, the same each time, and what people write in it stays."""

import pytest
from huggingface_hub import ModelCard

from basereward.data.manifest import SourceHeader
from basereward.data.overlap import BenchmarkOverlap, OverlapSummary
from basereward.data.record import DataRecord, TrainedBy, TrainedOn, write_record
from basereward.errors import CheckpointError, DataError
from basereward.models.adapters import LoraSettings, attach_lora
from basereward.models.card.facts import CardFacts, CardNumber, CardResult, CardRun, read_card_facts
from basereward.models.card.file import BEGIN, END, carry_card, write_card
from basereward.models.card.page import place_name
from basereward.models.checkpoint import load_reward_model, save_reward_model
from basereward.scoring.folders import weights_of

OVERLAP = BenchmarkOverlap(
    items_sha256="0" * 64, items=46, rows=170, unreadable=0, found={}, found_rows={"same_pair": 3}, known=()
)
RECORD = DataRecord(
    fingerprint="abc",
    inputs=(
        TrainedOn(
            name="mix|ed",
            manifest_sha256="1" * 64,
            sources=("rlaif_v", "own"),
            rows=1234,
            headers=(
                SourceHeader(
                    name="rlaif_v", repository="openbmb/RLAIF-V-Dataset", revision="a1", licence="CC BY-NC 4.0"
                ),
                SourceHeader(name="own", repository="pairs.jsonl", revision=None, licence="unknown"),
            ),
        ),
    ),
    contamination=OverlapSummary(
        pairs=1234, dropped=("same_pair",), method={}, benchmarks={"mm_rlhf_rewardbench": OVERLAP}
    ).to_dict(),
    trained_by=TrainedBy(recipe_sha256="2" * 64, seed=7, name="small"),
)
RUN = CardRun(recipe={"name": "small", "optimizer": {"learning_rate": 1e-5}}, pairs=1200, steps=9, dropped=34)
RESULT = CardResult(
    benchmark="rm_bench",
    protocol="official",
    protocol_text="official: as it is; ties strict",
    metrics={"accuracy": CardNumber(value=0.625, low=0.5, high=0.75, n=40)},
    rows=44,
    failed=4,
    ties=2,
    hub_id="THU-KEG/RM-Bench",
    revision=None,
    data_sha256="3" * 64,
    contamination="clean",
    weights="4" * 64,
)
FACTS = CardFacts(backbone="Qwen/Qwen2.5-VL-7B-Instruct", backbone_licence="apache-2.0", run=RUN, results=(RESULT,))


@pytest.fixture
def folder(text_model, tmp_path):
    """A checkpoint of the tiny text model."""
    text_model.data_record = None
    return save_reward_model(text_model, tmp_path / "model")


def text_of(folder):
    return (folder / "README.md").read_text(encoding="utf-8")


def test_a_checkpoint_alone_says_what_is_not_known(folder):
    text = text_of(folder)
    assert "| started from | unknown |" in text
    assert "Unknown: the model has no `data.json`." in text
    assert "| backbone | unknown |" in text
    assert "Text alone: images are refused." in text
    assert ModelCard(text).data.to_dict() == {
        "library_name": "basereward",
        "license": "unknown",
        "pipeline_tag": "text-classification",
        "tags": ["reward-model", "basereward"],
    }


def test_a_card_says_what_the_files_say_and_the_hub_reads_it(folder):
    write_record(RECORD, folder)
    write_card(folder, FACTS)
    text = text_of(folder)
    for line in (
        "| started from | Qwen/Qwen2.5-VL-7B-Instruct |",
        "Recipe `small`, seed 7",
        "9 steps over 1200 pairs; 34 pairs were dropped before.",
        "learning_rate: 1.0e-05",
        f"| mix\\|ed | 1234 | `{'1' * 64}` | rlaif_v, own |",
        "| mm_rlhf_rewardbench | 46 | 0 | 3 |",
        "| rm_bench | official | accuracy | 62.5 | 50.0 to 75.0 | 40 | 44 | 4 | 2 | clean |",
        "| Qwen/Qwen2.5-VL-7B-Instruct | apache-2.0 |",
        "| rlaif_v (openbmb/RLAIF-V-Dataset at a1) | CC BY-NC 4.0 |",
        "| own (pairs.jsonl) | unknown |",
    ):
        assert line in text
    data = ModelCard(text).data
    assert data.base_model == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert (data.license, data.datasets) == ("unknown", ["openbmb/RLAIF-V-Dataset"])
    [found] = data.eval_results
    assert (found.dataset_type, found.metric_type, found.metric_value) == ("THU-KEG/RM-Bench", "accuracy", 0.625)


def test_a_card_written_again_is_the_same_and_no_file_of_the_weights(folder):
    digest = weights_of(folder).digest()
    write_card(folder, FACTS)
    first = (folder / "README.md").read_bytes()
    write_card(folder)
    write_card(folder, read_card_facts(folder))
    assert (folder / "README.md").read_bytes() == first
    assert weights_of(folder).digest() == digest


def test_what_people_write_stays(folder):
    text = text_of(folder).replace("# Reward model on", "# Mine on").replace(BEGIN, f"By hand | \r\n\r\n{BEGIN}")
    text = text.replace("license: unknown", "license: mit\nlanguage: en").replace("- reward-model", "- my-tag")
    (folder / "README.md").write_bytes(f"{text}\nBehind.\n".encode())
    write_card(folder, FACTS)
    written = (folder / "README.md").read_bytes().decode()
    assert "By hand | \r\n\r\n" in written
    assert written.endswith(f"{END}\n\nBehind.\n")
    data = ModelCard(written).data.to_dict()
    assert (data["license"], data["language"]) == ("mit", "en")
    assert data["tags"] == ["my-tag", "basereward", "reward-model"]
    write_card(folder, CardFacts())
    assert "model-index" not in ModelCard((folder / "README.md").read_text()).data.to_dict()


def test_a_card_from_elsewhere_gets_the_generated_part_behind_it(folder):
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Theirs\n\nText.\n")
    write_card(folder)
    assert text_of(folder).split(BEGIN)[0].endswith("---\n# Theirs\n\nText.\n\n")
    before = text_of(folder)
    write_card(folder)
    assert text_of(folder) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"# Mine\n{BEGIN}\n", "once each and in this order"),
        (f"{END}\n{BEGIN}\n", "once each and in this order"),
        (f"{BEGIN}{END}{BEGIN}{END}", "once each and in this order"),
        ("---\na: [\n---\n", "no YAML"),
        ("---\n- a\n---\n", "are list; expected a mapping"),
    ],
)
def test_a_broken_card_is_refused_and_left_as_it_is(folder, text, message):
    (folder / "README.md").write_text(text)
    with pytest.raises(DataError, match=message):
        write_card(folder, FACTS)
    assert text_of(folder) == text
    assert read_card_facts(folder) == CardFacts()


def test_other_weights_in_the_folder_have_none_of_the_results(text_model, folder):
    write_card(folder, FACTS)
    save_reward_model(text_model, folder)
    assert read_card_facts(folder) == CardFacts()
    assert "rm_bench" not in text_of(folder)


def test_a_model_made_of_another_has_its_run_and_none_of_its_results(text_model, folder, tmp_path):
    write_card(folder, FACTS)
    other = save_reward_model(text_model, tmp_path / "other")
    carry_card(folder, other)
    assert read_card_facts(other) == FACTS.model_copy(update={"results": ()})


def test_an_adapter_names_its_base_and_keeps_a_hand_written_card(folder, tmp_path):
    adapted = load_reward_model(folder)
    attach_lora(adapted, LoraSettings(rank=2))
    place = save_reward_model(adapted, tmp_path / "lora")
    assert f"| started from | {folder.name} |" in text_of(place)
    assert str(tmp_path) not in text_of(place)
    (place / "README.md").write_text(f"Mine.\n\n{text_of(place)}")
    save_reward_model(adapted, place)
    assert text_of(place).count("Mine.") == 1


def test_a_folder_without_a_model_of_ours_gets_no_card(text_backbone):
    with pytest.raises(CheckpointError, match="a card needs it"):
        write_card(text_backbone)


def test_places_are_told_by_their_names(tmp_path):
    assert place_name("Qwen/Qwen3-8B@main") == "Qwen/Qwen3-8B@main"
    assert place_name(str(tmp_path)) == tmp_path.name
