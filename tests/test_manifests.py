"""How a search is deployed: schemas, what schemas cannot see, and the commands run as written."""

import configparser
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlparse

import pytest
import typer

from tasks.commands.every import app

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[1]
TUNING = ROOT / "deploy" / "kubernetes" / "tuning"
DOCKERFILE = (ROOT / "deploy" / "docker" / "Dockerfile.tuning").read_text(encoding="utf-8")
# Every component on in one, none in the other.
VARIANTS = {"plain": (), "gpu and tls": ("gpu", "tls")}
PARTS = {"scheduler", "worker", "search"}


def documents(path):
    return [found for found in yaml.safe_load_all(path.read_text(encoding="utf-8")) if found]


def render(components):
    """What ``kubectl kustomize`` makes of the directory with these components."""
    (outer,) = documents(TUNING / "kustomization.yaml")
    objects = [found for name in outer["resources"] for found in documents(TUNING / name)]
    for component in components:
        (inner,) = documents(TUNING / component / "kustomization.yaml")
        assert inner["kind"] == "Component"
        for patch in inner["patches"]:
            target = patch["target"]
            aimed = [
                found
                for found in objects
                if re.fullmatch(target["kind"], found["kind"])
                and re.fullmatch(target.get("name", ".*"), found["metadata"]["name"])
            ]
            assert aimed, f"{component}: nothing is {target}"
            for found in aimed:
                for operation in yaml.safe_load(patch["patch"]):
                    apply(found, operation)
    images = {each["name"]: f"{each['newName']}:{each['newTag']}" for each in outer["images"]}
    for found in objects:
        if found["kind"] != "Namespace":
            found["metadata"]["namespace"] = outer["namespace"]
        for container in containers(found):
            container["image"] = images[container["image"]]
    return objects


def apply(document, operation):
    """An operation of a JSON patch (RFC 6902); the patches here only add and replace."""
    parts = operation["path"].split("/")[1:]
    *path, last = [part.replace("~1", "/").replace("~0", "~") for part in parts]
    at = document
    for part in path:
        at = at[int(part) if isinstance(at, list) else part]
    assert operation["op"] in ("add", "replace")
    if last == "-":
        at.append(operation["value"])
    else:
        assert (last in at) == (operation["op"] == "replace"), operation
        at[last] = operation["value"]


def pod(found):
    """The pod's specification; None for what has no pods."""
    return found.get("spec", {}).get("template", {}).get("spec")


def containers(found):
    return (pod(found) or {}).get("containers", [])


def labels(found):
    return found["spec"]["template"]["metadata"]["labels"]


def part(found):
    return labels(found)["app.kubernetes.io/component"]


def selected(selector, workloads):
    """Which workloads' pods a label selector matches."""
    wanted = [(key, [value]) for key, value in selector.get("matchLabels", {}).items()]
    for each in selector.get("matchExpressions", []):
        assert each["operator"] == "In"
        wanted.append((each["key"], each["values"]))
    return [
        found
        for found in workloads
        if all(labels(found).get(key) in values for key, values in wanted)
    ]


def ports(found):
    return {each["name"]: each["containerPort"] for each in containers(found)[0].get("ports", [])}


def environment(found, objects):
    """Of the workload's container, as the kubelet makes it up from ConfigMap and ``env``."""
    (container,) = containers(found)
    variables = {}
    for source in container["envFrom"]:
        variables |= one(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    return variables | {each["name"]: each["value"] for each in container.get("env", [])}


def command_line(found, objects):
    """Of the workload's container, with ``$(NAME)`` replaced."""
    (container,) = containers(found)
    variables = environment(found, objects)
    words = [*container["command"], *container["args"]]
    return [re.sub(r"\$\((\w+)\)", lambda name: variables[name[1]], word) for word in words]


def one(objects, kind, name):
    (found,) = [x for x in objects if x["kind"] == kind and x["metadata"]["name"] == name]
    return found


def workloads(objects):
    return [found for found in objects if pod(found)]


@pytest.fixture(params=VARIANTS)
def objects(request):
    return render(VARIANTS[request.param])


def test_kustomize_renders_the_same(objects, request, tmp_path):
    if not shutil.which("kubectl"):
        pytest.skip("no kubectl")
    shutil.copytree(TUNING, tmp_path / "tuning")
    components = VARIANTS[request.node.callspec.params["objects"]]
    outer = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["tuning"],
        "components": [f"tuning/{name}" for name in components],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(outer))
    command = ["kubectl", "kustomize", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    def by_name(found):
        return found["kind"], found["metadata"]["name"]

    kustomized = [found for found in yaml.safe_load_all(done.stdout) if found]
    assert sorted(kustomized, key=by_name) == sorted(objects, key=by_name)


@pytest.mark.parametrize("version", ["1.30", "newest"])
def test_manifests_follow_the_schemas(objects, version):
    validator = pytest.importorskip("kubernetes_validate")
    version = validator.latest_version() if version == "newest" else version
    for found in objects:
        validator.validate(found, version, strict=True)
    objects[0]["metadata"]["lables"] = {}
    with pytest.raises(validator.ValidationError):
        validator.validate(objects[0], version, strict=True)


def test_every_file_is_listed():
    (outer,) = documents(TUNING / "kustomization.yaml")
    assert {path.name for path in TUNING.glob("*.yaml")} == {
        "kustomization.yaml", *outer["resources"]
    }  # fmt: skip
    inner = {path.parent.name for path in TUNING.glob("*/kustomization.yaml")}
    assert inner == set(VARIANTS["gpu and tls"])


def test_selectors_match_pods(objects):
    pods = workloads(objects)
    assert {part(found) for found in pods} == PARTS
    for found in pods:
        if "selector" in found["spec"]:
            assert selected(found["spec"]["selector"], pods) == [found]
    service = one(objects, "Service", "seqloom-scheduler")
    (behind,) = selected({"matchLabels": service["spec"]["selector"]}, pods)
    assert part(behind) == "scheduler"
    (port,) = service["spec"]["ports"]
    assert ports(behind)[port["targetPort"]] == port["port"]
    for found in pods:
        address = urlparse(environment(found, objects)["SCHEDULER"])
        assert (address.hostname, address.port) == (service["metadata"]["name"], port["port"])


def test_only_those_who_must_reach_a_pod_may(objects):
    pods, may = workloads(objects), {}
    for policy in (found for found in objects if found["kind"] == "NetworkPolicy"):
        (guarded,) = selected(policy["spec"]["podSelector"], pods)
        assert policy["spec"]["policyTypes"] == ["Ingress"]
        may[part(guarded)] = {
            (part(source), port["port"])
            for rule in policy["spec"].get("ingress", [])
            for peer in rule["from"]
            for source in selected(peer["podSelector"], pods)
            for port in rule["ports"]
        }
        assert {name for _, name in may[part(guarded)]} <= set(ports(guarded))
    assert may == {
        "scheduler": {("search", "dask"), ("worker", "dask")},
        "worker": {("scheduler", "dask"), ("search", "dask"), ("worker", "dask")},
        "search": set(),
    }


def test_ports_and_probes_belong_to_the_command(objects):
    for found in workloads(objects):
        (container,) = containers(found)
        words = command_line(found, objects)
        for name, number in ports(found).items():
            flags = {"dask": ("--port", "--worker-port"), "http": ("--dashboard-address",)}[name]
            written = [flag for flag in words if flag.partition("=")[0] in flags]
            assert [re.sub(r".*[=:]", "", flag) for flag in written] == [str(number)]
        for probe in ("readinessProbe", "livenessProbe"):
            if probe in container:
                assert container[probe]["httpGet"]["port"] in ports(found)


def test_what_is_mounted_exists(objects):
    claim = one(objects, "PersistentVolumeClaim", "seqloom-shared")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for found in workloads(objects):
        (container,) = containers(found)
        volumes = {each["name"]: each for each in pod(found)["volumes"]}
        mounts = {each["mountPath"]: volumes[each["name"]] for each in container["volumeMounts"]}
        assert len(mounts) == len(volumes)
        for volume in volumes.values():
            if "persistentVolumeClaim" in volume:
                name = volume["persistentVolumeClaim"]["claimName"]
                assert name == claim["metadata"]["name"]
        variables = environment(found, objects)
        assert "emptyDir" in mounts[variables["HOME"]]
        files = {value for value in variables.values() if value.startswith("/tls/")}
        assert bool(files) == ("/tls" in mounts)
        for word in command_line(found, objects):
            flag, _, value = word.partition("=")
            if flag == "--out":
                assert "persistentVolumeClaim" in mounts["/" + value.split("/")[1]]
            if flag == "--local-directory":
                assert "emptyDir" in mounts[value]


def test_containers_have_no_privileges(objects):
    user = int(re.search(r"useradd --uid (\d+)", DOCKERFILE)[1])
    for found in workloads(objects):
        outer = pod(found)["securityContext"]
        assert outer["runAsNonRoot"]
        assert outer["runAsUser"] == outer["runAsGroup"] == outer["fsGroup"] == user
        assert outer["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod(found)["automountServiceAccountToken"] is False
        (container,) = containers(found)
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


def check_command(words):
    """Asserts that the program has each flag, by its own parser, which would pass over others."""
    program, name, *arguments = words
    if program == "dask":
        pytest.importorskip("distributed")
        from distributed.cli import dask_scheduler, dask_worker

        command = {"scheduler": dask_scheduler, "worker": dask_worker}[name].main
        context = command.make_context(name, list(arguments))
        rest = [context.params.get("scheduler") or "", *context.params["preload_argv"]]
        assert not any(word.startswith("-") for word in rest), words
    else:
        assert program == "seqloom"
        command = typer.main.get_command(app).commands[name]
        context = command.make_context(name, list(arguments))
        # What the command itself does not know goes to the task; nothing here is meant for it.
        assert context.args == [], words


def test_commands_of_the_manifests_are_understood(objects):
    for found in workloads(objects):
        check_command(command_line(found, objects))


def test_an_unknown_flag_is_noticed():
    for words in (["dask", "worker", "--nthread=1"], ["seqloom", "tune", "sentiment", "--trial=1"]):
        with pytest.raises(AssertionError):
            check_command(words)


@pytest.mark.parametrize("name", ["docs/cluster.md", "deploy/slurm/search.sh"])
def test_commands_written_elsewhere_are_understood(name, tmp_path, monkeypatch):
    for file in ("ca.crt", "tls.crt", "tls.key"):
        (tmp_path / file).touch()  # dask looks whether they are there
    monkeypatch.chdir(tmp_path)
    text = (ROOT / name).read_text(encoding="utf-8")
    if name.endswith(".md"):
        text = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    text = re.sub(r"\\\n\s*", " ", text)
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
    written = re.findall(r"(?<![\w-])((?:dask (?:scheduler|worker)|seqloom tune) [^\n&;|)]*)", text)
    assert len(written) >= 3
    for command in written:
        check_command(shlex.split(command, comments=True))


def test_the_slurm_script_is_a_shell_script():
    subprocess.run(["bash", "-n", ROOT / "deploy" / "slurm" / "search.sh"], check=True)


def test_the_image_has_all_packages():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    rooms = config["options.packages.find"]["include"].replace("*", "").split()
    lines = [line.split()[1:-1] for line in DOCKERFILE.splitlines() if line.startswith("COPY ")]
    copied = {name for names in lines for name in names}
    assert copied >= {*rooms, "seqloom.py", "setup.cfg", "constraints.txt"}
    assert all((ROOT / name).exists() for name in copied)
    assert "cluster" in config["options.extras_require"]


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    numbers = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return numbers


def make_certificates(directory):
    """An authority and a certificate of it, named as in the Secret."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make certificates with")
    new = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]
    for arguments in (
        ["req", "-x509", *new, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt"],
        ["req", *new, "-subj", "/CN=seqloom", "-keyout", "tls.key", "-out", "request"],
        ["x509", "-req", "-in", "request", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "2",
         "-CAcreateserial", "-out", "tls.crt"],
    ):  # fmt: skip
        command = ["openssl", *arguments]
        subprocess.run(command, cwd=directory, check=True, capture_output=True)


def wait_for_health(probe, known, process):
    """Until the probe's path answers 200."""
    assert "scheme" not in probe["httpGet"]
    url = f"http://127.0.0.1:{known[probe['httpGet']['port']]}{probe['httpGet']['path']}"
    for _ in range(150):
        assert process.poll() is None, "it ended"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                assert answer.status == 200
                return
        except urllib.error.URLError:
            time.sleep(0.2)
    raise AssertionError(f"{url} does not answer")


ASK = """
import sys
from distributed import Client
with Client(sys.argv[1], timeout=30) as client:
    client.wait_for_workers(1, timeout=30)
    resources = eval(sys.argv[2])
    print(client.get_executor(pure=False, **resources).submit(pow, 2, 5).result(timeout=30))
"""


def test_the_commands_make_a_cluster(objects, tmp_path):
    pytest.importorskip("distributed")
    found = {part(each): each for each in workloads(objects)}
    numbers = [number for each in ("scheduler", "worker") for number in ports(found[each]).values()]
    here = dict(zip(map(str, numbers), map(str, free_ports(len(numbers))), strict=True))
    tls = environment(found["worker"], objects)["SCHEDULER"].startswith("tls://")
    if tls:
        make_certificates(tmp_path)

    def localised(text):
        text = re.sub("|".join(here), lambda port: here[port[0]], text)
        text = text.replace("seqloom-scheduler", "127.0.0.1").replace("/tls/", f"{tmp_path}/")
        return re.sub(r"(^|=)/tmp$", rf"\g<1>{tmp_path}", text)

    def start(name):
        variables = environment(found[name], objects)
        program, *arguments = map(localised, command_line(found[name], objects))
        assert program == "dask"
        outside = {key: v for key, v in os.environ.items() if not key.startswith("DASK_")}
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments],
            env=outside | {key: localised(value) for key, value in variables.items()},
            cwd=tmp_path, stderr=(tmp_path / f"{name}.log").open("w"),
        )  # fmt: skip

    def known(name):
        return {port: here[str(number)] for port, number in ports(found[name]).items()}

    running = []
    try:
        # The worker comes first: it must be found alive while it waits.
        running.append(worker := start("worker"))
        (container,) = containers(found["worker"])
        wait_for_health(container["livenessProbe"], known("worker"), worker)
        running.append(scheduler := start("scheduler"))
        (container,) = containers(found["scheduler"])
        for probe in ("readinessProbe", "livenessProbe"):
            wait_for_health(container[probe], known("scheduler"), scheduler)
        variables = environment(found["search"], objects)
        variables = {key: localised(value) for key, value in variables.items()}
        gpu = any("GPU=1" in word for word in command_line(found["worker"], objects))
        resources = {"resources": {"GPU": 1}} if gpu else {}
        done = subprocess.run(
            [sys.executable, "-c", ASK, variables["SCHEDULER"], repr(resources)],
            env=os.environ | variables, cwd=tmp_path, capture_output=True, text=True, timeout=90,
        )  # fmt: skip
        assert done.stdout.strip() == "32", done.stderr
        if tls:
            refused = subprocess.run(
                [sys.executable, "-c", ASK, variables["SCHEDULER"].replace("tls:", "tcp:"), "{}"],
                cwd=tmp_path, capture_output=True, text=True, timeout=90,
            )  # fmt: skip
            assert refused.returncode == 1
        for process, name in ((worker, "worker"), (scheduler, "scheduler")):
            process.send_signal(signal.SIGTERM)
            grace = pod(found[name])["terminationGracePeriodSeconds"]
            assert process.wait(timeout=grace) == 0
    finally:
        for process in running:
            process.kill()
            process.wait()
