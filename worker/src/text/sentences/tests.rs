use proptest::prop_assert;

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
        "The pH is 4.2.| It was 5.5.",
        "It grew by .5 percent.| Then it fell.",
        "Open at 9 a.m. and shut at 5 p.m.| Nobody came.",
        "The firm, Smith & Co., sold it.| Then it closed.",
        "He wrote \"No.\"| She left.",
        "“Is it?”| “It is.”| They agreed.",
        "They came from St. Louis, Mo. and left.",
        "So . . . we waited.| Then it came.",
        "See pp. 3-5 and vol. 2.| Then stop.",
        "On Jan. 5 it rained.| On Feb. 6 it snowed.",
        "Lt. Col. Brown spoke.| Sen. Lee answered.",
        "The value is 1,234.56.| The next is 7.",
        "It is 5 ft. 3 in. tall.",
        "‘Go,’ he said.| ‘Now!’ she cried.",
        "He left (at 5 p.m.).| She stayed.",
        "What did he say?”| Nobody knew.",
        "A.D. 79 saw it.| Pompeii fell.",
        "The U.K. and the E.U. agreed.| It held.",
        "Use .NET or Node.js today.| Both run.",
        "1) First this.| 2) Then that.",
        "The end.| (Not quite.)| Now it is.",
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
        "왜죠?…|모르겠다.",
        "갔다.|그리고 왔다.",
        "값은 1,000원이다.| macOS에서 돈다.",
        "주소는 example.com이다.| 끝났다!",
        "1. 서론",
        "옵션 a.| 그다음 옵션.",
        "(물론 그렇다. 정말이다.)| 다음.",
        "좋습니다.| 그런가요?| 그렇죠!| 맞아요~",
        "버전 2.0.1이 나왔다.| 빠르다.",
        "그는 “왜?”라고 물었다.| 답은 없었다.",
        "그는 “왜?” 하고 물었다.| 답은 없었다.",
        "“갑시다.”| 그가 일어섰다.",
        "비율은 3.5%였다.| 작년에는 2.1%였다.",
        "A사는 올랐다.| B사는 내렸다.",
        "오전 9시 30분.| 회의가 시작됐다.",
        "이것이 무엇인가?!| 아무도 몰랐다.",
        "정말... 그랬다.| 그리고 끝났다.",
        "㈜한빛은 2001년에 섰다.| 지금은 없다.",
        "1.5배 늘었다.| 2배는 아니다.",
        "그는 말했다.| \"간다.\"| 그리고 떠났다.",
        "‘참 좋다.’고 생각했다.| 그랬다.",
        "「바다」를 읽었다.| 좋았다.",
        "갔음.| 보았음.| 끝.",
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
    check("de", "Das kostet 3,50 Euro.| Am 1. Mai, ca. 5 Uhr, ging er d. h. er lief.| Ende.");
    check("de", "Er sagte: „Nein.“| Dann ging er.| Die Nr. 5 lebt u. a. in Bonn.");
    check("de", "Die Firma Müller GmbH & Co. KG schloss.| Usw. steht oft da.");
    check("fr", "Le prix est de 3,5 %.| C’est tout !| Vraiment ?| Oui.");
    check("fr", "Mme Curie et M. Curie.| Cf. p. 12.| Fin.");
    check("fr", "Il dit : « Non. Jamais. »| Puis il part.");
    check("es", "La Sra. López y el Dr. Ruiz llegan a las 5 p. m. y salen.| ¿Y tú?| No sé.");
    check("it", "Il sig. Rossi arriva.| Il dott. Bianchi no.| Costa 3,5 euro.| Perché?");
    check("pt", "O Sr. Silva e a Sra. Souza chegaram.| Custa 2,5 reais.| Por quê?");
    check("nl", "Dhr. Jansen kwam o.a. uit Gent.| Hij bleef bijv. lang.| Klaar.");
    check("pl", "Było to 3. maja.| Potem padało.");
    check("sv", "Det kostar 3,5 kr.| Bra!| Eller?");
}

#[test]
fn chinese_and_japanese() {
    check("ja", "潮が満ちる。|船が出る！|なぜ？|月のせいだ。");
    check("ja", "「行くよ。でも遅い。」と彼は言った。|空は3.5倍広い。");
    check("ja", "「行く。」|「待て。」");
    check("zh", "你好。|“走吧。快点！”他说。|好！");
    check("zh", "价格是3.5元。|版本1.2.3发布了！|真的吗？！|是的……好。");
    check("zh", "（他说是。真的。）|然后走了。");
    check("ja", "値段は1,200円です。|高い！？|そうですか。|（笑。本当に。）|はい。");
    check("ja", "「本当？」と聞いた。|「はい。」彼は頷いた。");
    check("ja", "Ver.2.0が出た。|A.I.の話だ。");
    check("ja", "『海。その声。』を読んだ。|よかった…。|終わり。");
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

    /// A cut stands after a mark that can end a sentence (or its closing quote), never inside of a word or a number.
    #[test]
    fn no_cut_inside_of_a_word_or_a_number(text in "([A-Ca-c가다요]{1,4}|[0-9]{1,3}|[.,]|[。！]|\\.\\.\\.| |[\"”」)]){0,30}", language in "en|ko|ja|de") {
        let found = sentences(&text, &language);
        let mut rest = text.trim_start();
        for sentence in &found {
            prop_assert!(rest.starts_with(sentence.as_str()), "{:?} in {:?}", sentence, text);
            let after = &rest[sentence.len()..];
            if !after.trim().is_empty() {
                let last = sentence.chars().next_back().unwrap();
                prop_assert!(!last.is_alphanumeric(), "{:?} | {:?}", sentence, after);
                let digits = sentence.trim_end_matches('.').ends_with(|c: char| c.is_ascii_digit());
                prop_assert!(!(digits && after.starts_with(|c: char| c.is_ascii_digit())), "{:?} | {:?}", sentence, after);
            }
            rest = after.trim_start();
        }
        prop_assert!(rest.is_empty());
    }
}
