"""Chat templates of repositories that keep theirs in Python: constants are read, no code is run."""

import ast
import json
from pathlib import Path
from typing import Any, NamedTuple

from basereward.errors import CheckpointError

FILE = "conversation.py"
MESSAGE = "{system_message}"


class Conversation(NamedTuple):
    """How a conversation is written: ``system separator (role message separator)*``.

    Args:
        system: the system message between what stands around it, ``{system_message}`` in its place.
        message: the system message of a conversation that has none.
        user: in front of a user's message.
        assistant: in front of an answer.
        separator: behind each of them, and behind the system message.
    """

    system: str
    message: str
    user: str
    assistant: str
    separator: str

    @property
    def end(self) -> str:
        """The token that ends an answer."""
        return self.separator.strip()


def read_conversation(folder: Path, name: str) -> Conversation:
    """Return a template by name from the ``conversation.py`` of a repository.

    Raises:
        CheckpointError: it is not there, is no constant, or puts messages together in another way.
    """
    file = folder / FILE
    if not file.exists():
        raise CheckpointError(f"{folder} has no {FILE}, which says how its chat template {name!r} is written.")
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise CheckpointError(f"{file} is not Python: {error}.") from error
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and getattr(call.func, "id", None) == "Conversation":
            values = {keyword.arg: _constant(keyword.value) for keyword in call.keywords}
            if values.get("name") == name:
                return _conversation(file, name, values)
    raise CheckpointError(f"{file} has no chat template {name!r}.")


def _constant(node: ast.expr) -> Any:
    """Return a literal, or the last name of what is looked up, such as ``SeparatorStyle.MPT``; None of all else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _conversation(file: Path, name: str, values: dict[str | None, Any]) -> Conversation:
    roles = values.get("roles")
    system, message, separator = (values.get(key, "") for key in ("system_template", "system_message", "sep"))
    texts = (system, message, separator, *(roles if isinstance(roles, tuple) else ()))
    if len(texts) != 5 or not all(isinstance(text, str) for text in texts) or values.get("messages"):
        raise CheckpointError(f"The chat template {name!r} of {file} is more than constants; expected texts.")
    style = values.get("sep_style")
    if style != "MPT" or system.count(MESSAGE) != 1 or not separator.strip():
        raise CheckpointError(
            f"The chat template {name!r} of {file} has style {style!r}; expected 'MPT', which puts a separator behind "
            "every message."
        )
    return Conversation(system, message, texts[3], texts[4], separator)


_TEMPLATE = """\
{{- BEGIN }}
{%- set own = messages[0].role == 'system' %}
{{- BEFORE }}
{%- if own %}{{ content(messages[0]) }}{% else %}{{ MESSAGE }}{% endif %}
{{- AFTER }}
{%- for message in (messages[1:] if own else messages) %}
{%- if message.role == 'user' %}{{ USER }}
{%- elif message.role == 'assistant' %}{{ ASSISTANT }}
{%- else %}{{ raise_exception('A system message stands in front of all others.') }}
{%- endif %}
{{- content(message) }}{{ SEPARATOR }}
{%- endfor %}
{%- if add_generation_prompt %}{{ ASSISTANT }}{% endif %}
"""
_CONTENT = """\
{%- macro content(message) %}
{%- if message.content is string %}{{ message.content }}
{%- else %}
{%- for part in message.content %}
{%- if part.type == 'image' %}{{ IMAGE }}
{%- elif part.type == 'video' %}{{ VIDEO }}
{%- else %}{{ part.text }}
{%- endif %}
{%- endfor %}
{%- endif %}
{%- endmacro %}
"""


def chat_template(conversation: Conversation, begin: str, image: str, video: str) -> str:
    """Return a conversation's template in Jinja.

    Args:
        begin: what the tokenizer puts in front of any text.
        image: what stands for an image, a line of its own.
        video: the same for a video.
    """
    before, after = conversation.system.split(MESSAGE)
    values = {
        "BEGIN": begin,
        "BEFORE": before,
        "MESSAGE": conversation.message,
        "AFTER": after + conversation.separator,
        "USER": conversation.user,
        "ASSISTANT": conversation.assistant,
        "SEPARATOR": conversation.separator,
        "IMAGE": image + "\n",
        "VIDEO": video + "\n",
    }
    # Jinja reads the escapes of JSON in its strings as Python does.
    settings = "".join(
        f"{{%- set {key} = {json.dumps(value, ensure_ascii=False)} %}}\n" for key, value in values.items()
    )
    return settings + _CONTENT + _TEMPLATE
