"""What can be checked of the packaging without a Docker engine: every file, variable and service it names exists."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
VARIABLE = re.compile(r"(?<!\$)\$\{?([A-Z][A-Z0-9_]*)")


def bash_scripts() -> list[Path]:
    candidates = [ROOT / "entrypoint.sh", *(ROOT / "scripts").rglob("*"), *(ROOT / ".ci").rglob("*")]
    return sorted(path for path in candidates if path.is_file() and "bash" in path.read_text().partition("\n")[0])


def instructions(name: str) -> list[list[str]]:
    """The words after each Dockerfile instruction of that name."""
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    return [line.split()[1:] for line in lines if line.startswith(name + " ")]


def with_defaults(text: str) -> str:
    """As compose fills it in where nothing is set."""
    return re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text)


def database_options() -> dict[str, str]:
    """What the database is started with, by name."""
    command = SERVICES["db"]["command"]
    assert command[0] == "postgres"
    assert set(command[1::2]) == {"-c"}
    return dict(option.split("=", 1) for option in command[2::2])


def volumes() -> list[tuple[str, str]]:
    return [(name, mount) for name, service in SERVICES.items() for mount in service.get("volumes", [])]


def test_compose_has_every_service():
    assert set(SERVICES) == {"web", "worker", "sender", "beat", "db", "redis", "pgbouncer"}


def test_compose_waits_only_for_services_that_tell_their_health():
    for service in SERVICES.values():
        for needed, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy"
            # web's health check is the image's.
            assert needed == "web" or "healthcheck" in SERVICES[needed]


@pytest.mark.parametrize(("service", "mount"), volumes())
def test_mounted_path_or_volume_exists(service, mount):
    source = with_defaults(mount).split(":")[0]
    assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


def test_compose_keeps_archived_readings_where_all_processes_see_them():
    for name in ("web", "worker", "beat"):
        assert SERVICES[name]["environment"]["ARCHIVE_DIR"] == "/archive"
        assert "archive:/archive" in map(with_defaults, SERVICES[name]["volumes"])


def test_compose_variables_are_documented():
    used = set(VARIABLE.findall((ROOT / "docker-compose.yml").read_text()))
    documented = set(re.findall(r"^#?\s*([A-Z][A-Z0-9_]*)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert used
    assert used <= documented


def test_compose_publishes_only_the_web_service():
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["web"]


def test_compose_pins_the_database_to_the_community_image():
    assert re.fullmatch(r"timescale/timescaledb:\d+\.\d+\.\d+-pg17", with_defaults(SERVICES["db"]["image"]))


def test_compose_pools_transactions_and_migrates_past_the_pooler():
    environment = SERVICES["web"]["environment"]
    assert SERVICES["pgbouncer"]["environment"]["POOL_MODE"] == "transaction"
    assert "@pgbouncer:6432/" in environment["DATABASE_URL"]
    assert environment["DISABLE_SERVER_SIDE_CURSORS"] == "true"
    assert "@db:5432/" in environment["MIGRATION_DATABASE_URL"]


def test_compose_loads_pg_stat_statements_and_what_settings_add():
    preload = database_options()["shared_preload_libraries"]
    assert preload.startswith("${POSTGRES_PRELOAD:-")
    assert with_defaults(preload) == "timescaledb,pg_stat_statements"
    assert "pg_stat_statements" in (ROOT / "scripts" / "init-db.sh").read_text()


def test_compose_switches_tls_and_pgaudit_on_by_settings_only():
    options = {name: with_defaults(value) for name, value in database_options().items()}
    assert options["ssl"] == "off"
    assert options["pgaudit.log"] == "none"
    pooler = {name: with_defaults(value) for name, value in SERVICES["pgbouncer"]["environment"].items()}
    assert pooler["CLIENT_TLS_SSLMODE"] == "disable"
    for place in (options["ssl_cert_file"], options["ssl_key_file"], pooler["CLIENT_TLS_KEY_FILE"]):
        assert place.startswith("/certs/")
    for service in ("db", "pgbouncer"):
        assert any(mount.endswith(":/certs:ro") for mount in SERVICES[service]["volumes"])


def test_compose_addresses_say_how_they_are_encrypted():
    environment = SERVICES["web"]["environment"]
    for name in ("DATABASE_URL", "MIGRATION_DATABASE_URL"):
        assert environment[name].endswith("/iot_hub?sslmode=${DATABASE_SSLMODE:-prefer}")
    assert SERVICES["pgbouncer"]["environment"]["SERVER_TLS_SSLMODE"] == "${DATABASE_SSLMODE:-prefer}"


def test_compose_and_procfile_start_what_the_entrypoint_knows():
    known = set(re.findall(r"^(\w+)\(\) \{", (ROOT / "entrypoint.sh").read_text(), re.MULTILINE))
    started = {name: SERVICES[name]["command"] for name in ("web", "worker", "sender", "beat")}
    assert all(command[0] == name for name, command in started.items())
    assert set(started) <= known
    procfile = (ROOT / "Procfile").read_text().splitlines()
    assert procfile == [f"{name}: ./entrypoint.sh {' '.join(command)}" for name, command in started.items()]


def test_everything_the_image_copies_exists_and_is_in_its_context():
    allowed = [
        line[1:].removesuffix("/**")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for *sources, _target in instructions("COPY"):
        for source in sources:
            assert (ROOT / source).exists()
            assert source in allowed


def test_image_does_not_run_as_root():
    users = instructions("USER")
    assert users
    assert users[-1] != ["root"]


@pytest.mark.parametrize("path", bash_scripts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_bash_script_parses(path):
    result = subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "name",
    [
        "entrypoint.sh",
        ".ci/run",
        *(f"scripts/{name}" for name in ("run", "test", "check", "services")),
        *(f"scripts/{name}.sh" for name in ("backup_db", "restore_db", "export_schema", "generate_erd")),
    ],
)
def test_program_may_be_executed(name):
    assert (ROOT / name).stat().st_mode & 0o100
