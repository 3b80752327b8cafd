"""Reads a feed as a player would, with feedparser, and checks it against the rules of RSS 2.0, of Apple Podcasts and of the
Podcasting 2.0 namespace. Everything that it refers to is fetched and compared with what is said of it.

    feed.py ADDRESS

Prints what it found as JSON. Exits with 1 and a sentence when a rule is broken."""

import json
import re
import sys
import urllib.request
import xml.etree.ElementTree as tree
from email.utils import parsedate_to_datetime

import feedparser

ITUNES = "{http://www.itunes.com/dtds/podcast-1.0.dtd}"
PODCAST = "{https://podcastindex.org/namespace/1.0}"
ATOM = "{http://www.w3.org/2005/Atom}"
TRANSCRIPTS = {"text/vtt", "application/x-subrip", "application/json"}


def main(address):
    body, headers = fetch(address)
    expect(headers["content-type"] == "application/rss+xml; charset=utf-8", headers["content-type"])
    again = urllib.request.Request(address, headers={"If-None-Match": headers["etag"]})
    expect(status(again) == 304, "an unchanged feed is 304")
    parsed = feedparser.parse(body)
    expect(not parsed.bozo, f"feedparser: {parsed.get('bozo_exception')}")
    expect(parsed.version == "rss20", parsed.version)
    root = tree.fromstring(body)
    expect(root.tag == "rss" and root.get("version") == "2.0" and len(root) == 1, "one channel in rss 2.0")
    channel = root[0]
    check_channel(channel, address)
    items = channel.findall("item")
    expect(len(items) == len(parsed.entries), "feedparser sees every item")
    guids = [one(item, "guid").text for item in items]
    expect(len(set(guids)) == len(guids), "every guid is of one item")
    dates = [parsedate_to_datetime(one(item, "pubDate").text) for item in items]
    expect(all(date.tzinfo for date in dates), "every date has a zone")
    told = [check_item(item, entry) for item, entry in zip(items, parsed.entries)]
    print(json.dumps({"title": parsed.feed.title, "image": image(channel), "items": told}))


def check_channel(channel, address):
    for name in ("title", "link", "description", "language", "generator"):
        expect((one(channel, name).text or "").strip(), f"{name} is empty")
    expect(re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]+)*", one(channel, "language").text), "language is a tag")
    expect(one(channel, f"{ITUNES}explicit").text in ("true", "false"), "itunes:explicit is true or false")
    expect(one(channel, f"{ITUNES}category").get("text"), "itunes:category has a text")
    expect(one(channel, f"{ITUNES}author").text, "itunes:author")
    expect(one(channel, f"{ITUNES}block").text == "Yes", "no directory lists a private feed")
    expect(one(channel, f"{ITUNES}type").text in ("episodic", "serial"), "itunes:type")
    expect(one(channel, f"{PODCAST}locked").text in ("yes", "no"), "podcast:locked")
    expect(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", one(channel, f"{PODCAST}guid").text), "podcast:guid is a UUID v5")
    this = one(channel, f"{ATOM}link")
    expect(this.get("rel") == "self" and this.get("href") == address, f"atom:link is {this.get('href')}")
    for owner in channel.findall(f"{ITUNES}owner"):
        expect("@" in one(owner, f"{ITUNES}email").text, "itunes:owner has an address")


def check_item(item, entry):
    expect((one(item, "title").text or "").strip(), "a title is empty")
    expect((one(item, "description").text or "").strip(), "a description is empty")
    expect(one(item, "guid").get("isPermaLink") == "false", "a guid is no address")
    enclosure = one(item, "enclosure")
    expect(enclosure.get("type") == "audio/mpeg", enclosure.get("type"))
    sound, headers = fetch(enclosure.get("url"))
    expect(len(sound) == int(enclosure.get("length")), f"{len(sound)} bytes, not {enclosure.get('length')}")
    expect(headers["content-type"] == "audio/mpeg" and sound[:3] == b"ID3", "it is MP3")
    part = urllib.request.Request(enclosure.get("url"), headers={"Range": "bytes=0-99"})
    expect(status(part) == 206, "a player may ask for a part")
    head = urllib.request.Request(enclosure.get("url"), method="HEAD")
    expect(status(head) == 200, "Apple asks with HEAD")
    expect(len(entry.enclosures) == 1 and int(entry.enclosures[0].length) == len(sound), "feedparser sees it")
    duration = int(one(item, f"{ITUNES}duration").text)
    expect(abs(duration - len(sound) * 8 / 64_000) < 3, f"{duration} s for {len(sound)} bytes of 64 kb/s")
    expect(one(item, f"{ITUNES}explicit").text in ("true", "false"), "itunes:explicit")
    expect(one(item, f"{ITUNES}episodeType").text == "full", "itunes:episodeType")
    chapters = one(item, f"{PODCAST}chapters")
    body, headers = fetch(chapters.get("url"))
    expect(chapters.get("type") == headers["content-type"] == "application/json+chapters", headers["content-type"])
    chapters = json.loads(body)
    expect(chapters["version"].startswith("1.") and chapters["chapters"][0]["startTime"] == 0, f"{chapters}")
    transcripts = item.findall(f"{PODCAST}transcript")
    expect({one.get("type") for one in transcripts} == TRANSCRIPTS, "three transcripts")
    for transcript in transcripts:
        body, headers = fetch(transcript.get("url"))
        expect(headers["content-type"].split(";")[0] == transcript.get("type"), headers["content-type"])
        expect(len(body) > 20 and transcript.get("language"), "a transcript says something, in a language")
    return {"title": entry.title, "chapters": len(chapters["chapters"]), "seconds": duration, "image": image(item)}


def image(element):
    found = element.find(f"{ITUNES}image")
    return None if found is None else found.get("href")


def one(element, name):
    found = element.findall(name)
    expect(len(found) == 1, f"{len(found)} of {name} in {element.tag}")
    return found[0]


def fetch(address):
    with urllib.request.urlopen(address, timeout=30) as answer:
        return answer.read(), {name.lower(): value for name, value in answer.headers.items()}


def status(request):
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def expect(holds, sentence):
    if not holds:
        sys.exit(sentence)


if __name__ == "__main__":
    main(*sys.argv[1:])
