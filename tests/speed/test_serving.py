"""The server's measurement: requests of the lengths that were asked for, clients that lose nothing, bars."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from basereward.errors import RecipeError
from basereward.speed.figures import Figure, latencies, middle
from basereward.speed.requests import Writer, read_requests
from basereward.speed.served import ServedProcess
from basereward.speed.serving import measure_serving
from basereward.speed.soak import flatness, measure_soak
from basereward.speed.traffic import Connection, ask_all, knock_all, until


@pytest.mark.parametrize("side", [0, 4])
def test_requests_have_the_lengths_that_were_asked_for(vl_template, side):
    writer = Writer(vl_template)
    request = writer.write(3, 200, (40, 60), side)
    [group] = read_requests([request.body])
    encoded = vl_template.encode(group)
    assert len(encoded.prefix) == pytest.approx(200, rel=0.15)
    assert [len(own) for own in encoded.suffixes] == pytest.approx([40, 60], rel=0.2)
    assert len(group.images) == bool(side)
    assert writer.write(3, 200, (40, 60), side) == request != writer.write(4, 200, (40, 60), side)
    singles = read_requests(request.singles)
    assert [own.responses[0].text for own in singles] == [own.text for own in group.responses]
    assert all(own.prompt == group.prompt for own in singles)


def test_a_bar_is_met_up_to_itself():
    assert Figure("p", "w", 1.25, most=1.25).is_met
    assert not Figure("p", "w", 1.26, most=1.25).is_met
    assert Figure("p", "w", 4.0, least=4.0).is_met
    assert not Figure("p", "w", 3.9, least=4.0).is_met
    assert Figure("p", "w", 1.0).is_met is None
    assert not Figure("p", "w", float("nan"), most=1.0).is_met


def test_rounds_and_latencies_are_summed_up():
    assert middle("p", "w", [3.0, 1.0, 2.0]) == Figure("p", "w", 2.0, spread=(1.0, 3.0))
    found = latencies("p", [one / 1000 for one in range(1, 101)])
    assert [one.value for one in found] == pytest.approx([50.0, 99.0, 100.0])


def test_memory_that_grows_after_warm_up_is_seen():
    mib = 2**20
    warm, flat = [place * 50 * mib for place in range(20)], [1000 * mib] * 80
    assert flatness(warm + flat)[-1].is_met
    assert not flatness(warm + [(1000 + place) * mib for place in range(80)])[-1].is_met


def test_clients_lose_nothing_and_say_what_was_lost():
    served = []

    async def answer(reader, writer):
        while head := await reader.readuntil(b"\r\n\r\n"):
            size = int(head.partition(b"Content-Length: ")[2].split()[0])
            if size == 7:
                writer.write(b"HTTP/1.1 429 Too Many\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                break
            body = await reader.readexactly(size)
            served.append(body)
            if body == b"lost":
                break
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    async def run():
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            bodies = [b"%d" % number for number in range(20)] + [b"lost", b"end"]
            replies = await asyncio.to_thread(ask_all, "127.0.0.1", port, bodies, 4)
            knocks = await asyncio.to_thread(knock_all, "127.0.0.1", port, [7] * 5, 2)
            leaving = Connection("127.0.0.1", port)
            await leaving.send(b"leaves")
            assert await until(lambda: b"leaves" in served)
            leaving.close()
            assert not await until(lambda: False, 0.05)
        return bodies, replies, knocks

    bodies, replies, knocks = asyncio.run(run())
    assert [reply.status for reply in replies] == [200] * 20 + [0, 200]
    assert [reply.body for reply in replies[:20]] == bodies[:20]
    assert [reply.status for reply in knocks] == [429] * 5


def test_unknown_parts_are_refused(tmp_path):
    with pytest.raises(RecipeError, match="load, overhead, sharing"):
        measure_serving(str(tmp_path), ["speed"])


@pytest.fixture(scope="module")
def trained(vl_backbone, tmp_path_factory):
    from basereward.models.checkpoint import new_reward_model, save_reward_model

    return save_reward_model(new_reward_model(vl_backbone), tmp_path_factory.mktemp("served") / "model")


@pytest.mark.slow
def test_a_server_is_measured(trained):
    from basereward.cli.main import app

    options = ["speed", "serve", str(trained), "--parts", "load,leaving,shutdown", "--requests", "40", "--json"]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 0
    content = json.loads(result.stdout)
    figures = {(own["part"], own["what"]): own for own in content["figures"]}
    assert figures["load", "lost"]["value"] == 0
    assert figures["load", "largest difference to local rewards"]["is_met"]
    assert figures["leaving", "tokens computed for those who left"]["value"] == 0
    assert all(own["is_met"] is not False for own in content["figures"] if own["part"] == "shutdown")


@pytest.mark.slow
def test_a_soak_ends_with_what_it_saw(trained):
    [minutes, requests, wrong, settled, growth] = measure_soak(str(trained), 0.05, 8)
    assert (minutes.value, wrong.value) == (0.05, 0)
    assert requests.value >= 16
    assert settled.value > 10
    assert growth.value > 0

    with ServedProcess(trained) as server:
        assert server.counted("tokens_total") > 0
        [reply] = ask_all(server.host, server.port, [b"{"], 1)
    assert reply.status == 400
