# SPDX-License-Identifier: Apache-2.0
"""Types by the kernel's headers: the text, what is made of the answer, and who is asked."""

from __future__ import annotations

import io
import json
import lzma
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pwru_py import Tracer, session
from pwru_py.attach.kprobe_multi import KprobeMulti
from pwru_py.errors import FeatureUnsupportedError, UsageError
from pwru_py.facts.btf import Btf, Kind, raw_btf
from pwru_py.facts.features import Features
from pwru_py.facts.header_btf import Source, sources, with_functions
from pwru_py.facts.header_types import PROBE, declared, known_functions, types_text
from pwru_py.facts.skb_functions import WITH_REASON
from pwru_py.kernel import bcc_object, headers, system
from pwru_py.kernel.headers import HeaderTypes
from pwru_py.kernel.notes import Notes
from pwru_py.options.config import Config, Engine
from pwru_py.plan.candidates import Functions
from pwru_py.plan.functions import Plan
from pwru_py.plan.tracepoints import find_tracepoints
from pwru_py.programs.known import KernelTypes, kernel_types
from pwru_py.programs.prepare import _check_made

from .btf_builder import Builder
from .test_known import FakeNotes

HEADER = """
static inline int skb_queue_len(const struct sk_buff_head *list) { return list->qlen; }
int ip_rcv(struct sk_buff *skb, struct net_device *dev);
static int ip_fragment(struct net *net, struct sk_buff *skb,
                       int (*output)(struct net *, struct sock *, struct sk_buff *)) __must_check;
void synchronize_net(void);
#define skb_walk(skb) for (;;)
"""


def compiled() -> bytes:
    """As BCC compiles the text, of a kernel whose headers declare ip_rcv() and one tracepoint."""
    b = Builder()
    skb = b.ptr(b.struct("sk_buff", 232))
    b.enum("skb_drop_reason", {"SKB_DROP_REASON_NOT_SPECIFIED": 2})
    nothing = b.ptr(0)
    probe = b.ptr(b.proto(nothing, skb, nothing))
    functions = {
        "ip_rcv": b.ptr(b.proto(b.integer(), skb)),
        "not_here": b.ptr(b.proto(skb)),
        "no_header": nothing,
    }
    members = [(name, b.alias(Kind.TYPEDEF, to, f"pwru_{name}")) for name, to in functions.items()]
    b.struct("pwru_functions", 24, members)
    register = b.alias(Kind.TYPEDEF, b.ptr(b.proto(probe, nothing)), "pwru_register")
    lacks = b.alias(Kind.TYPEDEF, nothing, "pwru_lacks")
    members = [("register_trace_kfree_skb", register), ("register_trace_none", lacks)]
    b.struct("pwru_tracepoints", 16, members)
    return b.raw()


def test_functions_that_a_header_declares() -> None:
    assert declared(HEADER) >= {"ip_rcv", "ip_fragment"}
    assert "synchronize_net" not in declared(HEADER)
    assert declared("int ip_rcv(struct net *net);") == set()


def test_names_that_are_known_are_asked_for() -> None:
    assert {"ip_rcv", "kfree_skb_reason", "__netif_receive_skb_core"} - known_functions() == {
        "__netif_receive_skb_core"  # a struct sk_buff ** since 5.9
    }
    text = types_text(["ip_rcv"])
    assert "PWRU_TYPE(ip_rcv)" in text
    assert "const volatile struct sk_buff *" in text


def test_headers_are_believed_before_the_list() -> None:
    """The list has ip_rcv()'s sk_buff first, what was compiled here second."""
    symbols = {"ip_rcv", "no_header", "ip6_input", "kfree_skb_reason", "register_fprobe_ips"}
    found = Btf(with_functions(compiled(), {*symbols, "local_interrupt_disable_state"}))
    assert found.function("ip_rcv")
    candidates = Functions.of(found).candidates
    places = {name: [each[:2] for each in several] for name, several in candidates.items()}
    assert places == {
        "ip_rcv": [(2, 0)],
        "ip6_input": [(1, 0)],
        "kfree_skb_reason": [WITH_REASON["kfree_skb_reason"]],
    }
    assert sources(found) == {
        "ip_rcv": Source.HEADERS,
        "ip6_input": Source.LIST,
        "kfree_skb_reason": Source.LIST,
    }
    assert found.function("register_fprobe_ips")
    assert found.function("bpf_trampoline_multi_attach") is None
    assert Features.of(found).interrupts_counted


def test_a_tracepoint_is_given_what_its_probes_are() -> None:
    found = Btf(with_functions(compiled(), ()))
    (point,) = find_tracepoints(found)
    assert (point.name, point.arg, point.reason_arg, point.location_arg) == ("kfree_skb", 1, 0, 2)
    assert Functions.of(found).candidates == {}


def test_types_before_stay_where_they_were() -> None:
    before, after = Btf(compiled()), Btf(with_functions(compiled(), {"ip_rcv"}))
    for number in range(1, before.count + 1):
        type_id = cast(Any, number)
        assert before.kind(type_id) == after.kind(type_id)
        assert before.type_name(type_id) == after.type_name(type_id)


def test_an_object_file_is_found_in_memory(tmp_path: Path) -> None:
    """The compiler's own; what looks like one and is cut short is passed over."""
    source, made = tmp_path / "one.c", tmp_path / "one.o"
    source.write_text("int pwru_in_memory(void *context) { return 0; }\n")
    compile_it = ["clang", "-target", "bpf", "-g", "-O2", "-c", str(source), "-o", str(made)]
    subprocess.run(compile_it, check=True)
    script = (
        "import runpy, sys\n"
        f"room = runpy.run_path({bcc_object.__file__!r})\n"
        f"kept = bytearray(open({str(made)!r}, 'rb').read())\n"
        "cut = bytearray(kept[:200])\n"
        "found = room['object_with'](b'\\0pwru_in_' + b'memory\\0')\n"
        "sys.exit(found != bytes(kept) or room['object_with'](b'no' + b'where') is not None)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


# In place of the script that asks BCC: with an argument, the answer to each text in turn.
FAKE = """
import json, sys, pathlib
here = pathlib.Path(__file__).parent
if len(sys.argv) < 3:
    sys.exit(int((here / "has_bcc").read_text()))
answers = json.loads((here / "answers").read_text())
text = sys.stdin.read()
(here / f"text{len(answers)}").write_text(text)
status, said, file = answers.pop(0)
(here / "answers").write_text(json.dumps(answers))
sys.stderr.write(said)
if file:
    sys.stdout.buffer.write((here / file).read_bytes())
sys.exit(status)
"""


class FakeBcc:
    def __init__(self, folder: Path, status: int = 0) -> None:
        self.folder = folder
        (folder / "include" / "linux").mkdir(parents=True)
        (folder / "fake.py").write_text(FAKE)
        (folder / "btf").write_bytes(compiled())
        (folder / "has_bcc").write_text(str(status))
        (folder / "include" / "linux" / "skbuff.h").write_text(HEADER)
        self.types = HeaderTypes(
            [[sys.executable, str(folder / "fake.py")]], str(folder / "include")
        )

    def answers(self, *answers: tuple[int, str, str]) -> None:
        (self.folder / "answers").write_text(json.dumps(answers))


@pytest.fixture
def bcc(tmp_path: Path) -> FakeBcc:
    return FakeBcc(tmp_path)


def test_what_bcc_has_compiled(bcc: FakeBcc) -> None:
    bcc.answers((0, "", "btf"))
    assert {"ip_rcv", "ip_fragment"} <= bcc.types.functions()
    found = Btf(bcc.types.compiled(["ip_rcv"], ["ip_rcv"]))
    assert [*Functions.of(found).candidates] == ["ip_rcv"]
    assert PROBE in (bcc.folder / "text1").read_text()


def test_what_is_no_function_is_left_out(bcc: FakeBcc) -> None:
    said = "/virtual/main.c:512:11: error: use of undeclared identifier 'bpf_sk_lookup'\n"
    bcc.answers((1, said, ""), (0, "", "btf"))
    bcc.types.compiled(["ip_rcv", "bpf_sk_lookup"], [])
    assert "PWRU_TYPE(bpf_sk_lookup)" in (bcc.folder / "text2").read_text()
    assert "PWRU_TYPE(bpf_sk_lookup)" not in (bcc.folder / "text1").read_text()


def test_what_cannot_be_compiled(bcc: FakeBcc) -> None:
    said = "note\n/x/linux/skbuff.h:7:1: error: unknown type name 'u9'\n1 error generated.\n"
    bcc.answers((1, said, ""))
    with pytest.raises(FeatureUnsupportedError, match=r"by its headers: /x/.*unknown type name"):
        bcc.types.compiled(["ip_rcv"], [])


def test_packages_that_are_missing(bcc: FakeBcc, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bcc.types.missing() == []
    (bcc.folder / "has_bcc").write_text(str(bcc_object.NO_BCC))
    assert bcc.types.missing() == [], "asked once"
    assert FakeBcc(bcc.folder / "without", bcc_object.NO_BCC).types.missing() == ["python3-bpfcc"]
    monkeypatch.setattr(headers, "_IN_MEMORY", "/nonexistent")
    nothing = HeaderTypes([["/nonexistent"]], "")
    assert [name.split("-")[0] for name in nothing.missing()] == ["python3", "linux"]


class FakeSource:
    """A source of types, as ``HeaderTypes`` is one."""

    def __init__(self) -> None:
        self.asked = 0
        self.lacks: list[str] = []

    def missing(self) -> list[str]:
        return self.lacks

    def raw(self) -> bytes:
        self.asked += 1
        return with_functions(compiled(), {"ip_rcv"})


def test_what_was_made_is_kept() -> None:
    notes, source = FakeNotes(), FakeSource()
    for first in (True, False):
        types = KernelTypes(source=source)
        notes.loads = 0
        types.notes = cast(Notes, notes)
        assert types.compiles is first
        assert [*types.known().functions.candidates] == ["ip_rcv"]
        assert not types.own
        assert not types.known().features.typed_task
        assert Btf(Path(types.file).read_bytes()).function("ip_rcv")
        assert not types.compiles
        assert notes.loads == 1, "they are long"
    assert source.asked == 1
    source.lacks = ["python3-bpfcc"]  # needed no more
    types = KernelTypes(source=source)
    types.notes = cast(Notes, notes)
    assert types.btf.function("ip_rcv")
    source.lacks = []
    notes["btf"] = {"btf": "?"}
    types = KernelTypes(source=source)
    types.notes = cast(Notes, notes)
    assert types.btf.function("ip_rcv")
    assert source.asked == 2


def test_a_session_has_its_types_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are asked whether they will take long, and then for all that they know."""
    source = FakeSource()
    asked: list[Config] = []

    def types_of(config: Config) -> KernelTypes:
        asked.append(config)
        types = KernelTypes(source=source)
        types.notes = cast(Notes, FakeNotes())
        return types

    def prepare(config: Config, types: KernelTypes) -> SimpleNamespace:
        return SimpleNamespace(plan=types.known())

    monkeypatch.setattr(session, "kernel_types", types_of)
    monkeypatch.setattr(session, "prepare", prepare)
    tracer = Tracer(Config(engine=Engine.BCC))
    assert tracer.compiles_types()
    tracer.plan()
    assert not tracer.compiles_types()
    assert (len(asked), source.asked) == (1, 1)


def test_a_function_that_no_header_tells_of(monkeypatch: pytest.MonkeyPatch) -> None:
    tracer = Tracer(Config(engine=Engine.BCC, filter_func="br_.*"))
    nothing = SimpleNamespace(plan=Plan((), ()), way=KprobeMulti)
    monkeypatch.setattr(session, "prepare", lambda _config, _types: nothing)
    tracer.plan()
    said = str(tracer.nothing_to_trace())
    assert "'br_.*'" in said
    assert said.endswith("as `kernel_btf`")


def test_modules_have_no_types_there(monkeypatch: pytest.MonkeyPatch) -> None:
    types = KernelTypes(source=FakeSource())
    assert types.module_btfs((), every=True) == []
    monkeypatch.setattr(system, "built_in", lambda names: [n for n in names if n == "ipv6"])
    assert types.module_btfs(("ipv6",), every=False) == []
    with pytest.raises(FeatureUnsupportedError, match="leave `kmods` out"):
        types.module_btfs(("veth",), every=False)


@pytest.mark.parametrize("own", [False, True])
def test_which_engine(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "has_own_btf", lambda: own)
    assert kernel_types(Config()).made is not own
    assert kernel_types(Config(engine=Engine.BCC)).made
    assert not kernel_types(Config(engine=Engine.LIBBPF)).made
    assert not kernel_types(Config(kernel_btf="/boot/btf")).made
    with pytest.raises(UsageError, match="leave one of `kernel_btf` and `engine` out"):
        Config(engine=Engine.BCC, kernel_btf="/boot/btf")


def test_what_to_install_is_told_in_a_line() -> None:
    source = FakeSource()
    source.lacks = ["python3-bpfcc", "linux-headers-5.4.0"]
    types = KernelTypes(source=source)
    types.notes = cast(Notes, FakeNotes())
    assert not types.compiles
    with pytest.raises(
        FeatureUnsupportedError, match=r"install python3-bpfcc linux-headers-5\.4\.0; or give"
    ):
        types.known()
    assert source.asked == 0


@pytest.mark.parametrize(
    ("config", "asks"),
    [
        (Config(filter_trace_tc=True), "`filter_trace_tc`, which needs .* leave it out"),
        (Config(output_bpfmap=True), "`output_bpfmap`, which needs"),
        (Config(all_kmods=True), "`all_kmods`, which needs"),
        (
            Config(filter_trace_tc=True, all_kmods=True),
            "`filter_trace_tc` and `all_kmods`, which need .* leave them out",
        ),
    ],
)
def test_what_needs_btf_is_refused_by_name(config: Config, asks: str) -> None:
    types = KernelTypes(source=FakeSource())
    _check_made(Config(), types)
    _check_made(config, KernelTypes("/boot/btf"))
    with pytest.raises(FeatureUnsupportedError, match=f"do not do for {asks}"):
        _check_made(config, types)


def archive(*files: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as made:
        for number, content in enumerate(files):
            entry = tarfile.TarInfo(f"./{number}.btf")
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def test_btfhub_archives(tmp_path: Path) -> None:
    assert raw_btf(archive(compiled()), "x.btf.tar.xz") == compiled()
    path = tmp_path / "x.btf.tar.xz"
    path.write_bytes(archive(compiled()))
    types = KernelTypes(str(path))
    types.own = False
    assert Path(types.file).read_bytes() == compiled()


@pytest.mark.parametrize(
    ("packed", "why"),
    [
        (archive(), "holds 0 files"),
        (archive(compiled(), compiled()), "holds 2 files"),
        (archive(b"text"), "no BTF"),
        (archive(compiled())[:90], "cannot unpack"),
        (lzma.compress(b"no archive"), "cannot unpack"),
    ],
)
def test_other_archives(packed: bytes, why: str) -> None:
    with pytest.raises(FeatureUnsupportedError, match=why):
        raw_btf(packed, "x.xz")
