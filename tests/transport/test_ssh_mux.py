"""The packets for a kept connection: as OpenSSH's PROTOCOL.mux has them."""

from daemonry.transport import ssh_mux


def test_the_packets_are_those_of_the_protocol():
    assert ssh_mux.hello().hex() == "000000080000000100000004"
    asked = ssh_mux.open_forward("/a", "/bc")
    assert ssh_mux.length(asked[:4]) == len(asked) - 4
    assert asked[4:] == (
        bytes.fromhex("100000060000000100000001")
        + bytes.fromhex("00000002")
        + b"/a"
        + bytes.fromhex("fffffffe")
        + bytes.fromhex("00000003")
        + b"/bc"
        + bytes.fromhex("fffffffe")
    )
    closed = ssh_mux.close_forward("/a", "/bc")
    assert (closed[:4], closed[4:8].hex(), closed[8:]) == (asked[:4], "10000007", asked[8:])


def test_an_answer_is_told_by_its_number_and_its_request():
    ok = bytes.fromhex("8000000100000001")
    assert ssh_mux.is_ok(ok)
    assert not ssh_mux.is_ok(bytes.fromhex("8000000100000002"))
    assert not ssh_mux.is_ok(bytes.fromhex("8000000300000001") + b"\0\0\0\4full")
    assert not ssh_mux.is_ok(b"")
    assert ssh_mux.is_hello(bytes.fromhex("0000000100000004"))
    assert not ssh_mux.is_hello(bytes.fromhex("0000000100000005"))
    assert ssh_mux.length(ssh_mux.hello()[: ssh_mux.LENGTH_BYTES]) == 8
