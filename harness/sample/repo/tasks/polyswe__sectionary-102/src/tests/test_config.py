import pytest
from sectionary import Config, ConfigError, CycleError, LookupFailedError

DEPLOY = """
[service]
host = localhost
port = 8000
url = http://${host}:${port}/

[worker : service]
port = 9000
debug = yes

[docs]
link = see ${service:url}
price = $$5
"""


@pytest.fixture
def config():
    return Config.from_text(DEPLOY)


def test_values_are_inherited(config):
    assert config.get("worker", "host") == "localhost"
    assert config.get_int("worker", "port") == 9000


def test_references_within_a_section(config):
    assert config.get("service", "url") == "http://localhost:8000/"


def test_references_to_another_section(config):
    assert config.get("docs", "link") == "see http://localhost:8000/"
    assert config.get("docs", "price") == "$5"


def test_keys(config):
    assert config.keys("worker") == ["host", "port", "url", "debug"]


def test_default_and_missing(config):
    assert config.get("worker", "colour", "red") == "red"
    with pytest.raises(LookupFailedError, match=r"no key 'colour' in .worker."):
        config.get("worker", "colour")
    with pytest.raises(LookupFailedError, match=r"no section .nowhere."):
        config.get("nowhere", "x")


def test_booleans(config):
    assert config.get_bool("worker", "debug") is True
    with pytest.raises(ConfigError, match="neither yes nor no"):
        config.get_bool("worker", "port")


def test_override_reaches_references(config):
    assert config.get("service", "url") == "http://localhost:8000/"
    config.override("service", "host", "example.org")
    assert config.get("service", "url") == "http://example.org:8000/"


def test_missing_reference_names_the_user():
    with pytest.raises(LookupFailedError, match=r"no key 'b' in .a., needed by .a. x"):
        Config.from_text("[a]\nx = ${b}\n").get("a", "x")


def test_cycles_are_reported():
    config = Config.from_text("[a]\nx = ${y}\ny = ${b:z}\n[b]\nz = ${a:x}\n")
    with pytest.raises(CycleError, match="a:x → a:y → b:z → a:x"):
        config.get("a", "x")
    with pytest.raises(CycleError, match="inherit in a circle"):
        Config.from_text("[a : b]\n[b : a]\n").get("a", "x")
