"""How a model is deployed: schemas, what schemas cannot see, and the command lines as written."""

import configparser
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from serving.runtime.config_files import batch_options, metrics_path, models_of, read_message
from serving.tf_model_server import parsed
from serving.triton_python import REQUIREMENTS

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes" / "serving"
CONFIG = KUBERNETES / "config"
SERVERS = ("seqloom", "tensorflow-serving", "triton")
DOCKERFILE = (DEPLOY / "docker" / "Dockerfile.server").read_text(encoding="utf-8")


def documents(path):
    return [found for found in yaml.safe_load_all(path.read_text(encoding="utf-8")) if found]


@pytest.mark.parametrize(
    "path", [p for p in sorted(KUBERNETES.glob("*.yaml")) if p.name != "kustomization.yaml"],
    ids=lambda path: path.name,
)  # fmt: skip
def test_manifests_are_valid(path):
    validate = pytest.importorskip("kubernetes_validate")
    for found in documents(path):
        validate.validate(found, "1.30", strict=True)


@pytest.mark.parametrize("name", SERVERS)
def test_what_schemas_cannot_see(name):
    deployment, service = documents(KUBERNETES / f"{name}.yaml")
    pod = deployment["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["selector"].items() <= labels.items()
    (container,) = pod["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} == ports
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        (check,) = (v for k, v in container[probe].items() if k in ("httpGet", "tcpSocket"))
        assert check["port"] in ports
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}
    (kustomization,) = documents(KUBERNETES / "kustomization.yaml")
    assert container["image"] in {image["name"] for image in kustomization["images"]}
    text = (KUBERNETES / "kustomization.yaml").read_text()
    assert f"- {name}.yaml" in text
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    # TensorFlow Serving has no health page: only what every server has may be asked of it.
    if name == "tensorflow-serving":
        assert "healthz" not in json.dumps(container)


def test_configuration_files_are_read():
    assert metrics_path(CONFIG / "monitoring.pbtxt") == "/monitoring/prometheus/metrics"
    options = batch_options(CONFIG / "batching.pbtxt")
    assert (options.max_rows, options.delay_seconds, options.workers) == (64, 0.001, 2)
    models = models_of(read_message(CONFIG / "models.pbtxt", "ModelServerConfig"))
    assert [(model.name, model.policy.count) for model in models] == [
        ("sentiment", 2), ("forecast", 1),
    ]  # fmt: skip


@pytest.mark.parametrize("name", SERVERS[:2])
def test_flags_are_ones_that_both_servers_know(name):
    deployment, _ = documents(KUBERNETES / f"{name}.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    _, unknown, idle = parsed(container["args"])
    assert (unknown, idle) == ([], [])


def compose():
    (found,) = documents(DEPLOY / "compose" / "serving.yaml")
    return found["services"]


def test_compose_is_valid():
    pytest.importorskip("check_jsonschema")  # it brings the schema of the Compose specification
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*command, str(DEPLOY / "compose" / "serving.yaml")], capture_output=True, text=True
    )
    assert not done.returncode, done.stdout + done.stderr


def test_compose_names_what_is_there():
    services = compose()
    assert sorted(services) == sorted(SERVERS)
    for name, service in services.items():
        assert service["profiles"] == [name]
        for volume in service["volumes"]:
            source = volume["source"]
            if not source.startswith("${"):
                assert (DEPLOY / "compose" / source).is_dir()
        for port in service["ports"]:
            assert port.startswith("127.0.0.1:")
    build = services["seqloom"]["build"]
    assert (DEPLOY / "compose" / build["context"] / build["dockerfile"]).is_file()
    command = services["tensorflow-serving"]["command"]
    assert parsed(command)[1:] == ([], [])
    for flag in command:
        name, _, path = flag.partition("=/config/")
        assert not path or (CONFIG / path).is_file(), name


def test_the_image_of_triton_has_packages_of_the_extra_serve_alone():
    text = (DEPLOY / "docker" / "Dockerfile.triton").read_text(encoding="utf-8")
    (installed,) = re.findall(r"--constraint \S+ \\\n\s+(.+?) \\\n", text)
    assert set(REQUIREMENTS.split()) <= set(installed.split()) <= extra_serve()
    assert (ROOT / re.search(r"^COPY (\S+)", text, re.MULTILINE)[1]).is_file()


def extra_serve():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options.extras_require"]["serve"].splitlines()
    return {re.match(r"[\w.-]+", line)[0] for line in lines if line and line[0] not in "#"}


def test_the_image_holds_the_extra_serve_and_no_tensorflow():
    (installed,) = re.findall(r"--constraint constraints.txt \\\n\s+(.+?) \\\n", DOCKERFILE)
    assert set(installed.split()) == extra_serve()
    assert "--no-deps ." in DOCKERFILE
    assert not re.search(r"^(RUN|COPY).*(tensorflow|keras)", DOCKERFILE, re.MULTILINE)
    for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source


def free_port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


def answers(command, rest, environment=None):
    """Runs a server's command line, asks it once, and stops it."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
    )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while True:
            try:
                url = f"http://127.0.0.1:{rest}/v1/models/sentiment"
                status = json.load(urllib.request.urlopen(url, timeout=5))
                break
            except OSError:
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < until
                time.sleep(0.1)
        assert status["model_version_status"][0]["state"] == "AVAILABLE"
        body = json.dumps({"instances": ["a fine film"]}).encode()
        reply = json.load(urllib.request.urlopen(f"{url}:predict", body, timeout=30))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        return reply["predictions"]
    finally:
        process.kill()
        process.stderr.close()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "backend"), [("seqloom", "onnx"), ("seqloom", "savedmodel"),
                                               ("tensorflow-serving", "savedmodel")])  # fmt: skip
def test_the_command_lines_of_the_pods_serve(sentiment_bundle, name, backend):
    """Of TensorFlow Serving's pod too: the flags are its own, and this server knows them."""
    deployment, _ = documents(KUBERNETES / f"{name}.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    rest = free_port()
    model = sentiment_bundle / backend
    places = {"/models/onnx": model, "/models/savedmodel": model,
              "/config": CONFIG, "--rest_api_port=8501": f"--rest_api_port={rest}",
              "--port=8500": f"--port={free_port()}"}  # fmt: skip
    flags = []
    for argument in container["args"]:
        for place, real in places.items():
            argument = argument.replace(place, str(real))
        flags.append(argument)
    rows = answers([sys.executable, "-m", "serving.tf_model_server", *flags], rest)
    assert {"label", "probabilities"} == set(rows[0])


@pytest.mark.slow
def test_the_entrypoint_of_the_image_serves(sentiment_bundle, tmp_path):
    (tmp_path / "sentiment").symlink_to(sentiment_bundle / "onnx")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    rest = free_port()
    command = [str(DEPLOY / "docker" / "server-entrypoint.sh"), f"--rest_api_port={rest}",
               f"--port={free_port()}"]  # fmt: skip
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {"MODEL_NAME": "sentiment", "MODEL_BASE_PATH": str(tmp_path), "PATH": path}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *sys.path])
    assert answers(command, rest, environment)
