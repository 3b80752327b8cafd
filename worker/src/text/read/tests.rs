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
}

#[test]
fn marks_are_not_spoken() {
    check("A **bold** and _soft_ ~~gone~~ `code` word.", &["0: A bold and soft gone code word."]);
    check("A [link](https://x.org) and ![image](x.png) here.", &["0: A link and here."]);
    check("See <https://x.org> or https://x.org/a now.", &["0: See or now."]);
    check("**A**\n\n```\ncode. code.\n```\n\nB.\n\n    indented code\n\nC.", &["0: A", "1: B.", "2: C."]);
    check("Before.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nAfter.", &["0: Before.", "1: After."]);
    check("One[^1] two.[2]\n\n[^1]: A *note*.\n\n    - more", &["0: One two."]);
    check("Fish &amp; chips<br>and <b>peas</b>.", &["0: Fish & chips and peas."]);
    check("<div>\n<h2>Head</h2><p>One.</p><p>Two.</p></div>", &["## Head", "0: One.", "1: Two."]);
    check("**Hm.**\n\n***\n\n…\n\nYes.", &["0: Hm.", "1: Yes."]);
    check("2 * 3 * 4 is snake_case_word.", &["0: 2 * 3 * 4 is snake_case_word."]);
    check("> Quoted. Twice.\n\nPlain.", &["0: Quoted.", "0: Twice.", "1: Plain."]);
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
    for text in [
        "# Not a heading.",
        "1. Not an item.",
        "A * b * c _d_ `e` <f> [g] &amp; \\h.",
        "- dash. > more.",
        "===",
    ] {
        let paragraph = sentences(text, "en");
        let markdown = to_markdown(&[(Some("Sub *x*"), &paragraph)], "en");
        let read = sections(&markdown, "en");
        assert_eq!(read[0].heading.as_deref(), Some("Sub *x*"));
        if is_speakable(text) {
            assert_eq!(read[0].paragraphs.concat().join(" "), text, "{markdown}");
        }
    }
}
