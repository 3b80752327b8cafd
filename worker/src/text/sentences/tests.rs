use super::sentences;

/// `text` is written with `|` where a sentence should end.
fn check(language: &str, marked: &str) {
    let expected: Vec<String> = marked.split('|').map(|sentence| sentence.trim().to_owned()).collect();
    assert_eq!(sentences(&marked.replace('|', ""), language), expected);
}

#[test]
fn english() {
    for marked in [
        "One.| Two.| Three.",
        "No stop at the end",
        "Mr. and Mrs. Smith met Dr. No.| They left.",
        "It costs 3.5 dollars.| Cheap!",
        "Version 1.2.3 is out.| Get it at example.com today.",
        "Fruit, e.g. Apples, i.e. Pomes, vs. Nuts.| Done.",
        "The U.S. Navy sailed.| It won.",
        "He lives in the U.S.| The house is big.",
        "We met at 5 p.m.| He was late.",
        "We met at 5 p.m. on Monday.",
        "J. R. R. Tolkien wrote it.| J. A. Smith read it.",
        "George W. Bush spoke.",
        "See Fig. 3 and No. 7.| No.| Yes.",
        "Apples, pears, etc.| Oranges are extra.",
        "Apple Inc. Chief Tim Cook spoke.| So did Acme Ltd.| The rest listened.",
        "\"Why?\" he asked.| \"Because,\" she said.",
        "\"I came. I saw. I won.\"| He smiled.",
        "“Go.”| “No. Never.”| They stayed.",
        "(This is all one. Really.)| Then more.",
        "He (Dr. Who) left.| Nobody (not one. none) saw.",
        "\"Stop!\" — he cried.",
        "Wait... what?| Wait…| Then it came.",
        "Really?!| Yes.",
        "What?| No!| Yahoo! is a firm.",
        "Born in 1986.| Twelve died in 1990.| 12 lived.",
        "1. Introduction to tides",
        "It was St. Petersburg.| Prof. Lee knew.",
        "It runs macOS.| iPhone users wait.",
        "The dogs’ tails wag.| Don’t look.",
        "He is a Ph.D.| She is not.",
    ] {
        check("en", marked);
    }
}

#[test]
fn korean() {
    for marked in [
        "밀물이 들어온다.| 썰물이 나간다.",
        "정말요?| 네, 정말이에요!| 좋아요.",
        "염도는 3.5퍼센트다.| 수심은 12.75미터다.",
        "그는 \"나는 간다. 너도 와라.\"라고 말했다.| 모두 웃었다.",
        "그는 “갑니다.”라고 했다.| 끝.",
        "\"갑니다.\" 라고 그가 말했다.",
        "\"정말요?\"| 그가 물었다.",
        "'김치가 미쳤다.'라는 말이 있다.| 재미있다.",
        "‘김치가 미쳤다.’라는 말이 있다.| 재미있다.",
        "2024. 3. 5. 서울에서 열렸다.| 비가 왔다.",
        "존 F. 케네디가 말했다.| Dr. 김도 있었다.",
        "U.S. 스틸은 회사다.",
        "음… 그래서 갔다.| 좋았다…| 그리고 왔다.",
        "갔다.|그리고 왔다.",
        "값은 1,000원이다.| macOS에서 돈다.",
        "주소는 example.com이다.| 끝났다!",
        "1. 서론",
        "옵션 a.| 그다음 옵션.",
        "(물론 그렇다. 정말이다.)| 다음.",
    ] {
        check("ko", marked);
    }
}

#[test]
fn other_languages() {
    check("de", "Am 3. Oktober kam er.| Im 19. Jahrhundert, z. B. in Wien, bzw. Linz.| Er ging.");
    check("de", "„Komm. Geh.“ rief sie.| Dr. Weiß kam.");
    check("fr", "M. Dupont arrive.| « Oui. »| Elle part vers 50 av. J.-C. environ.");
    check("es", "El Sr. García vino.| ¿Por qué?| ¡Vaya!| EE. UU. ganó.");
    check("ru", "Он пришёл.| А. С. Пушкин писал.");
    check("hi", "यह एक है।| यह दो है।");
}

#[test]
fn chinese_and_japanese() {
    check("ja", "潮が満ちる。|船が出る！|なぜ？|月のせいだ。");
    check("ja", "「行くよ。でも遅い。」と彼は言った。|空は3.5倍広い。");
    check("ja", "「行く。」|「待て。」");
    check("zh", "你好。|“走吧。快点！”他说。|好！");
}

#[test]
fn blank_lines_always_end_a_sentence() {
    assert_eq!(sentences("A title\n\nA text", "en"), ["A title", "A text"]);
    assert_eq!(sentences("", "en"), Vec::<String>::new());
    assert_eq!(sentences(" … ", "en"), ["…"]);
}

proptest::proptest! {
    #[test]
    fn nothing_is_lost(text in "[A-Ca-c가다요。．.!?…\"'“”()「」3 ]{0,80}", language in "en|ko|ja|de") {
        let squeeze = |text: &str| text.split_whitespace().collect::<String>();
        proptest::prop_assert_eq!(squeeze(&sentences(&text, &language).concat()), squeeze(&text));
    }
}
