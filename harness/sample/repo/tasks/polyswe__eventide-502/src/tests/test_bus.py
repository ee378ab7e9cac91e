import pytest
from eventide import DispatchError, EventBus


@pytest.fixture
def bus():
    return EventBus()


@pytest.fixture
def calls():
    return []


def test_handlers_get_the_event(bus, calls):
    bus.on("order.*")(calls.append)
    assert bus.publish("order.paid", 7) == 1
    assert bus.publish("invoice.paid", 8) == 0
    assert [(event.topic, event.payload) for event in calls] == [("order.paid", 7)]


def test_order_of_calling(bus, calls):
    bus.subscribe("a", lambda _: calls.append("first"))
    bus.publish("a")
    bus.subscribe("*", lambda _: calls.append("second"))
    bus.subscribe("a", lambda _: calls.append("urgent"), priority=1)
    calls.clear()
    assert bus.publish("a") == 3
    assert calls == ["urgent", "first", "second"]


def test_cancel(bus, calls):
    subscription = bus.subscribe("a", calls.append)
    bus.publish("a")
    subscription.cancel()
    subscription.cancel()
    assert bus.publish("a") == 0
    assert len(calls) == 1
    assert len(bus) == 0


def test_with_block(bus, calls):
    with bus.subscribe("a", calls.append):
        bus.publish("a")
    bus.publish("a")
    assert len(calls) == 1


def test_once(bus, calls):
    bus.subscribe("a", lambda _: calls.append("always"))
    bus.once("a", lambda _: calls.append("once"))
    bus.publish("a")
    bus.publish("a")
    assert calls == ["always", "once", "always"]


def test_all_errors_are_reported_at_the_end(bus, calls):
    def fail(event):
        raise RuntimeError(event.payload)

    bus.subscribe("a", fail)
    bus.subscribe("a", calls.append)
    with pytest.raises(DispatchError) as caught:
        bus.publish("a", "x")
    assert len(calls) == 1
    assert [str(error) for error in caught.value.errors] == ["x"]


def test_handlers_may_publish(bus, calls):
    bus.subscribe("a", lambda event: bus.publish("b", event.payload))
    bus.subscribe("b", calls.append)
    bus.publish("a", 1)
    assert [event.topic for event in calls] == ["b"]
