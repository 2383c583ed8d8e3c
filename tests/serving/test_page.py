"""The page in a real browser: a person drops an image, writes a prompt and responses, and sees bars.

``make test-browser`` runs it. It needs Debian's chromium and playwright; where one is missing it is skipped, but for
``.ci/run``, which promises a browser.
"""

import base64
import os
import shutil
from importlib.util import find_spec
from io import BytesIO

import pytest

MISSING = [
    name
    for name, found in (("chromium", shutil.which("chromium")), ("playwright", find_spec("playwright")))
    if found is None
]
NEEDED = "BASEREWARD_TEST_BROWSER"

pytestmark = [
    pytest.mark.browser,
    # Where a browser is promised, its absence is a failure.
    pytest.mark.skipif(
        bool(MISSING) and not os.environ.get(NEEDED),
        reason=f"needs {' and '.join(MISSING)} (apt-get install chromium, make setup)",
    ),
]
RESPONSES = ["red", "blue, I would say", "<b>neither</b> <img src=x onerror='document.title=1'>"]
# As a person drops a file: the event that a browser sends carries the file itself.
DROP = """([drop, data]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], 'scene.png', { type: 'image/png' }));
  drop.dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def chromium():
    assert not MISSING, f"{NEEDED} promises a browser, and there is no {' and no '.join(MISSING)}."
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        # The sandbox needs rights that containers do not give.
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A page that fails its test on any error of its script, blocked content included."""
    context = chromium.new_context()
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    assert errors == []


def fill(page, responses):
    page.get_by_label("Prompt").fill("Which colour is it?")
    for place, text in enumerate(responses, 1):
        if place > 2:
            page.get_by_role("button", name="Add a response").click()
        page.get_by_label(f"Response {place}").fill(text)
    page.get_by_role("button", name="Score").click()
    page.get_by_role("heading", name="Rewards").wait_for()


def shown(page):
    """The cells of the table, row by row."""
    return [row.locator("td").all_inner_texts() for row in page.locator("#rows tr").all()]


def test_an_image_is_dropped_and_rewards_with_and_without_it_are_seen(server, page, scorer, make_group, picture):
    image = picture(84, 84, 9)
    file = BytesIO()
    image.save(file, "PNG")
    page.goto(server.url)
    assert "scorer tiny, sees images" in page.locator("#model").inner_text()
    drop = page.locator("#drop").element_handle()
    page.evaluate(DROP, [drop, base64.b64encode(file.getvalue()).decode()])
    page.get_by_alt_text("scene.png").wait_for()
    fill(page, RESPONSES)
    with_image, without = scorer.score([make_group("Which colour is it?", RESPONSES, own) for own in ([image], [])])
    rows = shown(page)
    assert [row[0] for row in rows] == RESPONSES
    for column, expected in ((1, with_image), (2, without)):
        assert [float(row[column]) for row in rows] == pytest.approx([one.value for one in expected], abs=1e-4)
    assert [row[1] for row in rows] != [row[2] for row in rows]
    best = max(range(3), key=lambda place: with_image[place].value)
    assert page.locator("tr.best td").first.inner_text() == RESPONSES[best]
    widths = [bar.bounding_box()["width"] for bar in page.locator("tr.best .bar i").all()]
    assert max(widths) > 20
    # What a response spells has run nowhere.
    assert page.title() == "basereward"


def test_without_an_image_there_is_one_column(server, page):
    page.goto(server.url)
    fill(page, RESPONSES[:2])
    assert [len(row) for row in shown(page)] == [2, 2]
    assert not page.locator("#without").is_visible()


def test_what_is_wrong_is_said_and_can_be_put_right(server, page, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    page.goto(server.url)
    page.locator("#file").set_input_files(tmp_path / "broken.png")
    page.get_by_alt_text("broken.png").wait_for()
    fill(page, RESPONSES[:2])
    rows = shown(page)
    assert all("corrupt" in row[1] for row in rows)
    assert all(float(row[2]) for row in rows)
    page.get_by_role("button", name="Remove the images").click()
    page.get_by_label("Response 2").fill("")
    page.get_by_role("button", name="Score").click()
    page.get_by_text("Write two responses").wait_for()


def test_with_a_key_the_browser_asks_its_user(start, new_scorer, chromium):
    server = start(new_scorer(), key="s3cret")
    from playwright.sync_api import Error

    # Nobody is there to type the key that the browser asks for, so it gives up.
    stranger = chromium.new_page()
    with pytest.raises(Error, match="ERR_INVALID_AUTH_CREDENTIALS"):
        stranger.goto(server.url)
    stranger.close()
    context = chromium.new_context(http_credentials={"username": "me", "password": "s3cret"})
    page = context.new_page()
    assert page.goto(server.url).status == 200
    fill(page, RESPONSES[:2])
    assert len(shown(page)) == 2
    context.close()


def test_a_judge_says_which_is_better(start, page):
    from basereward.data.outcomes import About, Verdict

    class Longest:
        about = About("longest", sees_images=False)

        def compare(self, questions):
            lengths = [[len(own[0].text) for own in question.responses] for question in questions]
            return [Verdict(own.index(max(own)), "It is the longest.") for own in lengths]

    page.goto(start(Longest()).url)
    fill(page, RESPONSES[:2])
    assert [row[1].strip() for row in shown(page)] == ["", "chosen"]
