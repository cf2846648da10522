"""Where secrets come from, who may read them, and that they are masked."""

import os

import pytest

from shoal.errors import InvalidInputError
from shoal.secrets import LocalSecrets, mask


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "secrets"
    path.write_text("# a comment\n\nAPI_KEY=from-the-file\nquoted = 'a = b'\nexport other=x\n")
    path.chmod(0o600)
    return path


def test_a_variable_comes_before_the_file(file):
    secrets = LocalSecrets({"SHOAL_SECRET_API_KEY": "from-a-variable", "HOME": "/"}, file)
    assert secrets.get("api-key") == "from-a-variable"
    assert secrets.get("API_KEY") == "from-a-variable"
    assert secrets.get("quoted") == "a = b"
    assert secrets.get("home") is None
    assert secrets.names() == ["api_key", "other", "quoted"]


def test_the_file_is_read_anew(file):
    secrets = LocalSecrets({}, file)
    assert secrets.get("api_key") == "from-the-file"
    file.write_text("api_key=newer\n")
    assert secrets.get("api_key") == "newer"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_file_that_others_can_reach_is_refused(file, mode):
    file.chmod(mode)
    with pytest.raises(InvalidInputError, match="chmod 600") as caught:
        LocalSecrets({}, file).get("api_key")
    assert "from-the-file" not in str(caught.value)


def test_a_bad_line_is_named_without_its_content(file):
    file.write_text("fine=1\nhunter2hunter2\n")
    with pytest.raises(InvalidInputError, match="secrets:2") as caught:
        LocalSecrets({}, file).names()
    assert "hunter2" not in str(caught.value)


def test_a_named_file_that_is_not_there_or_is_no_file_is_an_error(tmp_path):
    assert LocalSecrets({}, None).get("x") is None
    with pytest.raises(InvalidInputError, match=r"there is no file of secrets .*none.*SHOAL_SECRETS_FILE"):
        LocalSecrets({}, tmp_path / "none").get("x")
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(InvalidInputError, match="no regular file"):
        LocalSecrets({}, tmp_path / "fifo").names()
    with pytest.raises(InvalidInputError, match=r"cannot be read|no regular file"):
        LocalSecrets({}, tmp_path).names()


def test_a_file_that_is_no_text_is_an_error(file):
    file.write_bytes(b"a=\xff")
    with pytest.raises(InvalidInputError, match="not UTF-8 text"):
        LocalSecrets({}, file).names()


def test_a_provider_does_not_show_values(file):
    assert "from-the-file" not in repr(LocalSecrets({}, file))


def test_masking_takes_the_longest_and_leaves_the_short():
    assert mask("abcdefgh abcdefghij short", ["abcdefgh", "abcdefghij", "short"]) == "*** *** short"
    assert mask("käsekuchen!".encode(), ["käsekuchen"]) == b"***!"
    assert mask("nothing", []) == "nothing"
