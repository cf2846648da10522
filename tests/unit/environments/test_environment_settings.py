"""pip's and uv's settings: pip's are translated, uv's own win."""

import os

import pytest

from shoal.environments.index_settings import index_settings


@pytest.fixture
def home(tmp_path):
    (tmp_path / "etc").mkdir()
    return tmp_path


def settings(home, **variables):
    """Settings of a machine whose only files are below `home` (and those of /etc, which a variable always overrides here)."""
    fixed = {"HOME": str(home), "XDG_CONFIG_DIRS": str(home / "etc"), "XDG_CONFIG_HOME": str(home / "config")}
    return index_settings({**fixed, **variables})


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_pips_variables_become_uvs(home):
    found = settings(
        home,
        PIP_INDEX_URL="https://one/simple",
        PIP_EXTRA_INDEX_URL="https://two/simple https://three/simple",
        PIP_FIND_LINKS="/a /b",
        PIP_CERT="/cert.pem",
        PIP_TRUSTED_HOST="one two:8080",
        PIP_NO_INDEX="true",
        PIP_CONFIG_FILE=os.devnull,
    )
    assert found.variables == {
        "UV_DEFAULT_INDEX": "https://one/simple",
        "UV_EXTRA_INDEX_URL": "https://two/simple https://three/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/a,/b",
        "SSL_CERT_FILE": "/cert.pem",
        "UV_INSECURE_HOST": "one two:8080",
    }
    assert found.flags == ("--no-index",)
    assert settings(home, PIP_NO_INDEX="0", PIP_CONFIG_FILE=os.devnull).flags == ()


def test_pips_files_are_read_in_its_order(home):
    write(home / "etc" / "pip" / "pip.conf", "[global]\nindex-url = https://site\nfind-links = /site\n")
    write(home / "config" / "pip" / "pip.conf", "[global]\nindex_url = https://user\n[install]\nfind-links =\n  /x\n  /y\n")
    found = settings(home).variables
    assert found["UV_DEFAULT_INDEX"] == "https://user"
    assert found["UV_FIND_LINKS"] == "/x,/y"
    named = write(home / "named.conf", "[global]\nindex-url = https://named\n")
    assert settings(home, PIP_CONFIG_FILE=str(named)).variables["UV_DEFAULT_INDEX"] == "https://named"
    assert settings(home, PIP_INDEX_URL="https://variable").variables["UV_DEFAULT_INDEX"] == "https://variable"
    assert "UV_DEFAULT_INDEX" not in settings(home, PIP_CONFIG_FILE=os.devnull).variables


def test_a_broken_file_says_nothing(home):
    write(home / "config" / "pip" / "pip.conf", "no section\n")
    write(home / "config" / "uv" / "uv.toml", "= broken")
    assert settings(home, PIP_INDEX_URL="https://one").variables["UV_DEFAULT_INDEX"] == "https://one"


@pytest.mark.parametrize(
    ("pip", "uv", "gone"),
    [
        ({"PIP_INDEX_URL": "https://p"}, {"UV_DEFAULT_INDEX": "https://u"}, "UV_DEFAULT_INDEX"),
        ({"PIP_INDEX_URL": "https://p"}, {"UV_INDEX_URL": "https://u"}, "UV_DEFAULT_INDEX"),
        ({"PIP_EXTRA_INDEX_URL": "https://p"}, {"UV_INDEX": "https://u"}, "UV_EXTRA_INDEX_URL"),
        ({"PIP_FIND_LINKS": "/p"}, {"UV_FIND_LINKS": "/u"}, "UV_FIND_LINKS"),
        ({"PIP_CERT": "/p"}, {"SSL_CERT_FILE": "/u"}, "SSL_CERT_FILE"),
        ({"PIP_TRUSTED_HOST": "p"}, {"UV_INSECURE_HOST": "u"}, "UV_INSECURE_HOST"),
    ],
)
def test_uvs_own_variables_win(home, pip, uv, gone):
    assert gone in settings(home, PIP_CONFIG_FILE=os.devnull, **pip).variables
    assert settings(home, PIP_CONFIG_FILE=os.devnull, **pip, **uv).variables == uv


def test_uvs_own_file_wins(home):
    write(home / "config" / "uv" / "uv.toml", '[[index]]\nurl = "https://u"\n[pip]\nfind-links = ["/u"]\nno-index = false\n')
    found = settings(home, PIP_INDEX_URL="https://p", PIP_FIND_LINKS="/p", PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull)
    assert (dict(found.variables), found.flags) == ({}, ())
    assert settings(home, PIP_INDEX_URL="https://p", UV_NO_CONFIG="1").variables["UV_DEFAULT_INDEX"] == "https://p"


def test_an_index_strategy_of_the_user_stays(home):
    found = settings(home, PIP_EXTRA_INDEX_URL="https://p", UV_INDEX_STRATEGY="first-index")
    assert found.variables["UV_INDEX_STRATEGY"] == "first-index"


def test_find_links_add_up(home):
    links = settings(home, UV_FIND_LINKS=f"{home},https://links", PIP_CONFIG_FILE=os.devnull)
    assert links.folders == (str(home),)
    assert links.with_links("/stubs").variables["UV_FIND_LINKS"] == f"{home},https://links,/stubs"
