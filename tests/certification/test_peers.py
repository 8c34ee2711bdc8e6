"""The certification of varlink.org, between our example and every peer, in both directions."""

import pytest

MAKES = ["daemonry", "python-varlink", "asyncvarlink"]


@pytest.mark.slow
@pytest.mark.parametrize("client", MAKES)
def test_their_client_passes_at_our_server(serve, run_client, client):
    done = run_client(client, serve("daemonry").path)
    assert (done.code, done.out.splitlines()[-1]) == (0, "Certification passed"), done.err


@pytest.mark.slow
@pytest.mark.parametrize("server", MAKES[1:])
def test_our_client_passes_at_their_server(serve, run_client, server):
    """python-varlink's server adds a `client_id` to the reply of Test09 (its issue 54): we let it."""
    done = run_client("daemonry", serve(server).path)
    assert (done.code, done.out) == (0, "Certification passed\n"), done.err


@pytest.mark.slow
def test_our_example_refuses_what_is_out_of_order(serve):
    from daemonry import Client, errors

    with Client.connect(serve("daemonry").endpoint) as client:
        name = "org.varlink.certification"
        me = client.call(f"{name}.Start")["client_id"]
        with pytest.raises(errors.CallFailed) as caught:
            client.call(f"{name}.Test02", {"client_id": me, "bool": True})
        assert caught.value.error == f"{name}.CertificationError"
        assert caught.value.parameters == {"wants": "test01", "got": "test02"}
        with pytest.raises(errors.CallFailed, match="ClientIdError"):
            client.call(f"{name}.Test01", {"client_id": "nobody"})
