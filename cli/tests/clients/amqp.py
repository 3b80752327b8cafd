"""A plain AMQP client, as an upstream application would be: it asks for a podcast, is told the answer at its own queue, and
follows the podcast over the exchange of events until its end. Every message is checked against the served AsyncAPI description.

    amqp.py AMQP_URL ASYNCAPI_JSON

Prints the id of the podcast. Exits with 1 and a sentence when anything is not as described."""

import json
import sys
import time

import jsonschema_rs
import pika

PATIENCE = 90


def main(url, description):
    description = json.load(open(description))
    told = Checked(description)
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    exchanges = {
        name: one["bindings"]["amqp"]["exchange"] for name, one in description["channels"].items() if one.get("bindings")
    }
    for exchange in exchanges.values():
        channel.exchange_declare(exchange["name"], exchange["type"], durable=exchange["durable"])
    mine = channel.queue_declare("", exclusive=True).method.queue
    events = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(events, exchanges["events"]["name"], "podcast.#")

    good = {"source": {"text": "The sea rises. The sea falls."}, "title": "By AMQP", "language": "en"}
    told.check("request", good)
    ask(channel, exchanges["requests"]["name"], "amqp-1", good, mine)
    accepted = told.check("reply", take(channel, mine, "amqp-1"))
    expect(accepted["accepted"] is True, f"not accepted: {accepted}")
    ask(channel, exchanges["requests"]["name"], "amqp-1", good, mine)
    again = told.check("reply", take(channel, mine, "amqp-1"))
    expect(again["podcast"] == accepted["podcast"], "the same message_id is the same podcast")

    bad = {"source": {"text": "Hello."}, "colour": "blue"}
    expect(not told.is_valid("request", bad), "the description refuses unknown fields, as the fleet does")
    ask(channel, exchanges["requests"]["name"], "amqp-2", bad, mine)
    refused = told.check("reply", take(channel, mine, "amqp-2"))
    expect(refused["accepted"] is False and refused["errors"][0]["field"] == "colour", f"{refused}")

    follow(channel, events, told, accepted["podcast"])
    connection.close()
    print(accepted["podcast"])


def ask(channel, exchange, message_id, request, reply_to):
    properties = pika.BasicProperties(
        content_type="application/json", delivery_mode=2, message_id=message_id, reply_to=reply_to, correlation_id=message_id
    )
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return channel.basic_publish(exchange, "", json.dumps(request).encode(), properties, mandatory=True)
        except pika.exceptions.UnroutableError:  # no collector has made the queue yet
            expect(time.monotonic() < until, f"no queue took the request within {PATIENCE} s")
            time.sleep(0.2)


def take(channel, queue, correlation_id):
    for method, properties, body in channel.consume(queue, auto_ack=True, inactivity_timeout=PATIENCE):
        expect(method is not None, f"no answer within {PATIENCE} s")
        expect(properties.correlation_id == correlation_id, f"an answer to {properties.correlation_id}")
        channel.cancel()
        return json.loads(body)


def follow(channel, queue, told, podcast):
    """Events may arrive in any order and hints may be lost, so what counts is what each says of itself, and the last one."""
    names, refusal, until = set(), False, time.monotonic() + PATIENCE
    for method, _, body in channel.consume(queue, auto_ack=True, inactivity_timeout=1):
        expect(time.monotonic() < until, f"it did not end within {PATIENCE} s; told were {sorted(names)}")
        if method is None:
            continue
        message = json.loads(body)
        if method.routing_key == "podcast.refused":
            refusal = told.check("refused", message)["message_id"] == "amqp-2"
            continue
        told.check("event", message)
        name = method.routing_key.removeprefix("podcast.")
        expect(name in told.events and message["event"] == name, f"{method.routing_key} is not described")
        if message["podcast"] == podcast:
            names.add(name)
        if name in ("completed", "failed", "cancelled") and message["podcast"] == podcast:
            break
    channel.cancel()
    expect({"accepted", "completed"} <= names, f"told were {sorted(names)}")
    expect(refusal, "the refusal was not told as an event")


class Checked:
    """The messages of a description, each with a validator of its payload."""

    def __init__(self, description):
        self.events = description["channels"]["events"]["parameters"]["event"]["enum"]
        self.validators = {}
        for name, message in description["components"]["messages"].items():
            schema = dict(message["payload"], components=description["components"])
            self.validators[name] = jsonschema_rs.Draft202012Validator(schema)

    def is_valid(self, name, message):
        return self.validators[name].is_valid(message)

    def check(self, name, message):
        for error in self.validators[name].iter_errors(message):
            expect(False, f"{name} is not as described: {error.message} at {list(error.instance_path)}: {message}")
        return message


def expect(holds, sentence):
    if not holds:
        sys.exit(sentence)


if __name__ == "__main__":
    main(*sys.argv[1:])
