use super::*;

/// Sections written as `level heading`, and sentences under them as `paragraph number: sentence`.
fn check(source: &str, expected: &[&str]) {
    check_in("en", source, expected);
}

fn check_in(language: &str, source: &str, expected: &[&str]) {
    let mut found = Vec::new();
    for section in sections(source, language) {
        if let Some(heading) = &section.heading {
            found.push(format!("{} {heading}", "#".repeat(section.level.into())));
        }
        for (number, paragraph) in section.paragraphs.iter().enumerate() {
            found.extend(paragraph.iter().map(|sentence| format!("{number}: {sentence}")));
        }
    }
    assert_eq!(found, expected, "{source}");
}

#[test]
fn headings_make_sections() {
    check(
        "# T\n\nOne. Two.\n\nThree.\n\n## A\n\nFour.",
        &["# T", "0: One.", "0: Two.", "1: Three.", "## A", "0: Four."],
    );
    check(
        "Before.\n\nTitle\n=====\n\nText.\n\nSub\n---\nMore.",
        &["0: Before.", "# Title", "0: Text.", "## Sub", "0: More."],
    );
    check("# A *fine* `title` {#id}\n\nx.", &["# A fine title", "0: x."]);
    check("## Empty\n\n### Full\n\nText.", &["## Empty", "### Full", "0: Text."]);
    check("---\ntitle: no\n---\n\n# T\n\nText.", &["# T", "0: Text."]);
    check("#hashtag is no heading.", &["0: #hashtag is no heading."]);
    check("+++\ntitle = 'x'\n+++\n\nText.", &["0: Text."]);
}

#[test]
fn marks_are_not_spoken() {
    check("A **bold** and _soft_ ~~gone~~ `code` word.", &["0: A bold and soft gone code word."]);
    check("A [link](https://x.org) and ![image](x.png) here.", &["0: A link and here."]);
    check("See <https://x.org> or https://x.org/a now. Then go.", &["0: Then go."]);
    check("Run `a.b_c` and wait. Run `a(b)` and wait.", &["0: Run a.b c and wait."]);
    check("**A**\n\n```\ncode. code.\n```\n\nB.\n\n    indented code\n\nC.", &["0: A", "1: B.", "2: C."]);
    check("Before.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nAfter.", &["0: Before.", "1: After."]);
    check("One[^1] two.[2]\n\n[^1]: A *note*.\n\n    - more", &["0: One two."]);
    check("Fish &amp; chips<br>and <b>peas</b>.", &["0: Fish & chips and peas."]);
    check("<div>\n<h2>Head</h2><p>One.</p><p>Two.</p></div>", &["## Head", "0: One.", "1: Two."]);
    check("**Hm.**\n\n***\n\n…\n\nYes.", &["0: Hm.", "1: Yes."]);
    check(
        "This works. Like so:\n\n    code\n\nAnd:\n\n| a |\n|---|\n| 1 |\n\nEnd.",
        &["0: This works.", "1: End."],
    );
    check("2 * 3 * 4 is snake_case_word.", &["0: 2 × 3 × 4 is snake_case_word."]);
    check("A box of 5*3*2 is **full**.", &["0: A box of 5×3×2 is full."]);
    check("> Quoted. Twice.\n\nPlain.", &["0: Quoted.", "0: Twice.", "1: Plain."]);
}

#[test]
fn what_belongs_to_the_page_is_left_out() {
    check(
        "Skip to content\n\nThe text is here, and it goes on.\n\nRead more",
        &["0: The text is here, and it goes on."],
    );
    check("# T\n\n- [Home](/)\n- [About](/a)\n\nText.\n\n[More](/m)", &["# T", "0: Text."]);
    check("# T\n\nWe use cookies. Accept all?\n\nText.\n\n© 2024 Somebody", &["# T", "0: Text."]);
    check(
        "# T\n\nText.\n\n## References\n\n1. A book.\n\n### Web\n\nA page.\n\n## More\n\nEnd.",
        &["# T", "0: Text.", "## More", "0: End."],
    );
    check("Home | News | Sport\n\nReal text stands here.", &["0: Real text stands here."]);
    check(
        "- See [the list](/l) first.\n- Then [act](/a) on it.",
        &["0: See the list first.", "0: Then act on it."],
    );
    check(
        "<nav>\n\n- Home\n- About\n\n</nav>\n\n**Text** <sup>2</sup> is <kbd>X</kbd> here.",
        &["0: Text ² is X here."],
    );
    check_in(
        "ko",
        "본문 바로가기\n\n바다는 하루에 두 번 오르내린다.\n\n공유하기",
        &["0: 바다는 하루에 두 번 오르내린다."],
    );
}

const PAGE: &str = r##"<!DOCTYPE html>
<html lang="en"><head><title>Why tides turn | The Daily Sea</title><style>p > a { color: red }</style>
<script>if (1 < 2) { document.write("<p>Never.</p>"); }</script></head>
<body class="has-sidebar nav-open">
<a class="skip-link" href="#content">Skip to content</a>
<div id="cookie-banner"><p>We value your privacy. <button>Accept</button></p></div>
<header><div class="logo">The Daily Sea</div><nav><ul><li><a href="/">Home</a><li><a href="/news">News</a></ul></nav></header>
<main id="content">
<article class="cookie-recipes">
<h1>Why tides turn</h1>
<p class="byline">By A. Writer</p>
<p>The sea rises twice a day<sup><a href="#n1">[1]</a></sup>. It falls, too&mdash;by 16&nbsp;metres in the <a href="/fundy">Bay of Fundy</a>.<br><br>Nobody pushes it.</p>
<figure><img src="a.png" alt="A chart"><figcaption>Chart: levels.</figcaption></figure>
<h2 id=why data-x="a > b">The &ldquo;Moon&rdquo; pulls</h2>
<p>Its pull fades with r<sup>3</sup>. Call <code>tide(now)</code> to see. Water is H<sub>2</sub>O.
<ul><li>Spring tides<li>Neap tides &amp; more</ul>
<table><tr><th>Port</th><th>Range</th></tr><tr><td>Fundy</td><td>16</td></tr></table>
<pre>let x = 1;</pre>
<aside>Buy our mug.</aside>
<div class="share-buttons"><a href="#">Tweet</a></div>
<p hidden>Hidden text.</p><p style="display: none">More hidden text.</p>
<p>3 < 5 holds. <!-- a comment --> So it ends.</p>
</article>
<section class="related"><h2>Related</h2><p>Other text that nobody asked for.</p></section>
</main>
<footer><p>&copy; 2024 The Daily Sea. All rights reserved.</p></footer>
</body></html>"##;

#[test]
fn a_page_is_read_for_its_text() {
    check(
        PAGE,
        &[
            "# Why tides turn",
            "0: The sea rises twice a day.",
            "0: It falls, too—by 16 metres in the Bay of Fundy.",
            "1: Nobody pushes it.",
            "## The “Moon” pulls",
            "0: Its pull fades with r³.",
            "0: Water is H2O.",
            "1: Spring tides.",
            "1: Neap tides & more.",
            "2: 3 < 5 holds.",
            "2: So it ends.",
        ],
    );
}

#[test]
fn pieces_of_pages_and_broken_pages() {
    check(
        "<p>One <b>two</b> &amp; three.</p><p>Four.</p><p>Five.</p>",
        &["0: One two & three.", "1: Four.", "2: Five."],
    );
    check("<h2>Title</h2>text<p>more</p>", &["## Title", "0: text", "1: more"]);
    check("<p>Never closed <b>bold. <p>Next one.</div>", &["0: Never closed bold.", "1: Next one."]);
    check(
        "<html><title>Sea - Site</title><body><nav>All is in here. Truly.</body></html>",
        &["# Sea", "0: All is in here.", "0: Truly."],
    );
    check(
        "<html><body><table><tr><td><p>Laid out in a table.</p></td></tr></table></body></html>",
        &["0: Laid out in a table."],
    );
    check(
        "<html><body><ul><li><p>One item.</p></li><li>Two</li></ul><p>End.</p>",
        &["0: One item.", "0: Two.", "1: End."],
    );
    check_in(
        "ja",
        "<html><body><p><ruby>潮<rt>しお</rt></ruby>が満ちる。</p></body></html>",
        &["0: 潮が満ちる。"],
    );
    for broken in [
        "<",
        "<p",
        "<html>",
        "<html><!--",
        "<html><p a=\"",
        "<html>&",
        "<html>&#xFFFFFFFF;",
        "<html></",
        "<html><script>",
    ] {
        check(broken, &[]);
    }
}

proptest::proptest! {
    /// Nothing that comes from outside breaks the reader, and none of a page's marks is read.
    #[test]
    fn any_source_is_read(pieces in proptest::collection::vec("(\\PC{0,3}|</?(p|nav|li|ul|a|sup|code|table|td|h2|script|q|br|header)( [a-z]{1,5}=.?)?/?>?|&#?[a-z0-9]{1,4};?|<!--|-->|[\\[\\]()*`|#>\\n@:/.]|https://|www\\.)", 0..40)) {
        let source = pieces.concat();
        for source in [source.clone(), format!("<html><body>{source}")] {
            for section in sections(&source, "en") {
                for sentence in section.paragraphs.iter().flatten() {
                    proptest::prop_assert!(is_speakable(sentence) && !sentence.contains(['\u{FFFB}', '\u{FFFC}', '\n']), "{:?}", sentence);
                }
            }
        }
    }
}

#[test]
fn list_items_become_sentences() {
    check(
        "There are two:\n\n- one thing\n- Another. Really\n\nEnd.",
        &["0: There are two:", "1: one thing.", "1: Another.", "1: Really.", "2: End."],
    );
    check(
        "1. first\n2. second\n   - inner\n3. third",
        &["0: first.", "0: second.", "0: inner.", "0: third."],
    );
    check("- **loose**\n\n- items\n\n  with more", &["0: loose.", "0: items.", "0: with more."]);
    check("- [x] done\n- [ ] open", &["0: done.", "0: open."]);
    check("• one\n• two", &["0: one.", "0: two."]);
    check("1986. A great year.", &["0: 1986.", "0: A great year."]);
}

#[test]
fn plain_text() {
    check(
        "Tides\n\nThe sea rises and falls twice a day.\n\nWhy\n\nThe Moon pulls at it, says Newton.",
        &[
            "# Tides",
            "0: The sea rises and falls twice a day.",
            "## Why",
            "0: The Moon pulls at it, says Newton.",
        ],
    );
    check("    Indented prose here.\n\n    And more.", &["0: Indented prose here.", "1: And more."]);
    check("Wrapped text goes\non here. It\nends.", &["0: Wrapped text goes on here.", "0: It ends."]);
    check("A line above dashes.\n---\nNext.", &["0: A line above dashes.", "0: Next."]);
    check("Hello there\n\nBye", &["0: Hello there", "1: Bye"]);
    check(
        "First line.\r\nSecond line.\r\nThird line.",
        &["0: First line.", "1: Second line.", "2: Third line."],
    );
    check("", &[]);
    check(" \n \n", &[]);
    check_in(
        "ko",
        "조석의 원리\n\n바다는 하루에 두 번 오르내린다. 달 때문이다.",
        &["# 조석의 원리", "0: 바다는 하루에 두 번 오르내린다.", "0: 달 때문이다."],
    );
    check_in("ja", "潮は一日に\n二度満ちる。船が出る。", &["0: 潮は一日に二度満ちる。", "0: 船が出る。"]);
}

#[test]
fn written_out_it_reads_the_same() {
    for text in
        ["# Not a heading.", "1. Not an item.", "A * b * c _d_ `e` <f> [g] & \\h.", "- dash. > more.", "==="]
    {
        let paragraph = sentences(text, "en");
        let markdown = to_markdown(&[(Some("Sub [x] _y_"), &paragraph)], "en");
        let read = sections(&markdown, "en");
        assert_eq!(read[0].heading.as_deref(), Some("Sub [x] _y_"));
        if is_speakable(text) {
            assert_eq!(read[0].paragraphs.concat().join(" "), text, "{markdown}");
        }
    }
}
