"""``[embeddings]`` and ``[retrievers.NAME]`` as they stand in a configuration file."""

from pathlib import Path

import pytest

from ostinato.config import ConfigError, load, shown

TEXT = """
[embeddings]
kind = "remote"
base_url = "https://api.example.com/v1"
model = "small"
api_key = { env = "VECTORS" }

[retrievers.handbook]
file = "handbook.jsonl"
indexed = "{{title}}: {{text}}"

[retrievers.site]
kind = "http"
url = "https://search.example.com/find"
api_key = { env = "SEARCH" }
"""


def read(tmp_path: Path, text: str):
    path = tmp_path / "ostinato.toml"
    path.write_text(text)
    return load(path, {"VECTORS": "sk-vectors", "SEARCH": "sk-search"})


def test_keys_are_pointed_to_and_never_shown(tmp_path: Path) -> None:
    config = read(tmp_path, TEXT)
    assert config.embeddings.api_key is not None
    assert config.embeddings.api_key.reveal() == "sk-vectors"
    key = config.retrievers["site"].api_key
    assert key is not None
    assert key.reveal() == "sk-search"
    assert config.retrievers["handbook"].indexed == "{{title}}: {{text}}"
    assert "sk-" not in repr(config) + str(shown(config))


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('api_key = { env = "VECTORS" }', 'api_key = "sk-vectors"', "must point to a secret"),
        ('kind = "remote"', 'kind = "local"', "embeddings.kind"),
        ('file = "handbook.jsonl"', 'path = "handbook.jsonl"', "retrievers.handbook.path does not exist"),
        ('kind = "http"', 'kind = "https"', "retrievers.site.kind"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, before: str, after: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        read(tmp_path, TEXT.replace(before, after))
    assert "line " in caught.value.message
    assert "sk-vectors" not in caught.value.sentence
