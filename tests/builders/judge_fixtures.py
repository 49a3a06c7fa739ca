"""Fixtures of the tests that ask judges behind endpoints."""

import pytest


@pytest.fixture
def impatient_client(monkeypatch):
    """The endpoint client retries nothing and reconnects at once."""
    monkeypatch.setattr("judges.client.MAX_RETRIES", 0)
    monkeypatch.setattr("judges.client.RECONNECT_S", 0.05)


@pytest.fixture
def own_verdict_cache(tmp_path, monkeypatch):
    """The verdict cache of judge filter stages lies in the test's folder."""
    monkeypatch.setenv("UPHILL_CACHE", str(tmp_path / "cache"))
