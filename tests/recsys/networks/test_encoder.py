import pytest
import torch

from recsys.errors import ConfigError
from recsys.networks.encoder import CAUSAL, BidirectionalEncoder, CaserEncoder, GruEncoder, build

D, L = 16, 9


@pytest.fixture(params=CAUSAL)
def encoder(request):
    return build(request.param, D, max_len=L, layers=2, heads=2, dropout=0.3).eval()


def _inputs(padding=(0, 3, 8, 9)):
    real = torch.arange(L) >= torch.tensor(padding).unsqueeze(1)
    return torch.randn(len(padding), L, D) * real.unsqueeze(-1), real


def test_shapes_and_silence_at_padding(encoder):
    x, real = _inputs()
    hidden = encoder(x, real)
    assert hidden.shape == x.shape and hidden.isfinite().all()
    assert (hidden[~real] == 0).all() and (hidden[real].abs().sum(-1) > 0).all()


def test_last_is_the_last_position(encoder):
    x, real = _inputs()
    torch.testing.assert_close(encoder.last(x, real), encoder(x, real)[:, -1], atol=1e-5, rtol=1e-5)


def test_the_future_is_not_seen(encoder):
    x, real = _inputs((0, 3))
    changed = x.clone()
    changed[:, 6:] += torch.randn(2, 3, D)
    before, after = encoder(x, real), encoder(changed, real)
    torch.testing.assert_close(before[:, :6], after[:, :6], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_padding_and_what_lies_in_it_do_not_matter(encoder):
    x, real = _inputs()
    garbage = torch.where(real.unsqueeze(-1), x, torch.randn_like(x))
    torch.testing.assert_close(encoder(garbage, real), encoder(x, real), atol=1e-5, rtol=1e-5)
    short = encoder(x[1:2, 3:], real[1:2, 3:])
    torch.testing.assert_close(short, encoder(x, real)[1:2, 3:], atol=1e-5, rtol=1e-5)


def test_order_matters_in_the_recent_past(encoder):
    x, real = _inputs((0,))
    assert not torch.allclose(encoder.last(x, real), encoder.last(x[:, [0, 1, 2, 3, 4, 5, 7, 6, 8]], real), atol=1e-4)


def test_gru_equals_torch_on_the_unpadded_history():
    encoder = GruEncoder(D, layers=1, dropout=0.0).eval()
    x, real = _inputs()
    torch.testing.assert_close(encoder(x, real)[1, 3:], encoder.gru(x[1:2, 3:])[0][0], atol=1e-5, rtol=1e-5)


def test_caser_equals_its_definition():
    encoder = CaserEncoder(D, window=4, dropout=0.0).eval()
    x = torch.randn(1, 4, D)
    across = [conv(x.transpose(1, 2)).relu().amax(-1) for conv in encoder.across]
    down = torch.einsum("bld,vl->bvd", x, encoder.down).flatten(1)
    expected = encoder.out(torch.cat([*across, down], dim=1))
    torch.testing.assert_close(encoder.last(x, torch.ones(1, 4, dtype=torch.bool)), expected, atol=1e-5, rtol=1e-5)


def test_a_bidirectional_encoder_reads_the_whole_history_and_no_padding():
    encoder = build("bidirectional", D, max_len=L, layers=2, heads=2, dropout=0.3).eval()
    x, real = _inputs()
    condition = encoder.last(x, real)
    assert condition.shape == (4, D) and (condition[3] == 0).all() and (condition[:3] != 0).any(1).all()
    garbage = torch.where(real.unsqueeze(-1), x, torch.randn_like(x))
    torch.testing.assert_close(encoder.last(garbage, real), condition, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoder.last(x[1:2, 3:], real[1:2, 3:])[0], condition[1], atol=1e-5, rtol=1e-5)
    for swapped in ([1, 0, 2, 3, 4, 5, 6, 7, 8], [0, 1, 2, 3, 4, 5, 6, 8, 7]):
        assert not torch.allclose(encoder.last(x[:, swapped], real[:, swapped])[0], condition[0], atol=1e-4)
    with pytest.raises(NotImplementedError):
        encoder(x, real)


def test_in_the_lower_layers_of_a_bidirectional_encoder_early_items_see_late_ones():
    encoder = BidirectionalEncoder(D, max_len=L, layers=2, heads=2, dropout=0.0).eval()
    (x, real), seen = _inputs((0, 0)), []
    encoder.blocks[0].register_forward_hook(lambda module, inputs, output: seen.append(output[0, 0]))
    encoder.last(x, real)
    x[:, -1] = torch.randn(2, D)
    encoder.last(x, real)
    assert not torch.allclose(seen[0], seen[1], atol=1e-4)


def test_out_of_range_is_refused():
    with pytest.raises(ConfigError, match="heads = 3"):
        build("transformer", D, max_len=L, layers=1, heads=3, dropout=0.0)
    with pytest.raises(ConfigError, match="encoder = 'lstm'"):
        build("lstm", D, max_len=L, layers=1, heads=1, dropout=0.0)
    with pytest.raises(ConfigError, match="encoder = 'bidirectional'.*transformer, gru, caser"):
        build("bidirectional", D, max_len=L, layers=1, heads=1, dropout=0.0, among=CAUSAL)
    for name in ("transformer", "bidirectional"):
        with pytest.raises(ConfigError, match="history length 10"):
            build(name, D, max_len=L, layers=1, heads=1, dropout=0.0).last(
                torch.zeros(1, 10, D), torch.ones(1, 10).bool()
            )
