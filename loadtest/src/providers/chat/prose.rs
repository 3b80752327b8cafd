//! Sentences in English and Korean that follow from a seed: grammatical, about nothing much, and never the same twice.

use std::collections::HashSet;

use super::prompt::Unit;
use crate::providers::settings::Language;

/// What sentences are put together from: who, does what, under which circumstances.
struct Parts {
    who: &'static [&'static str],
    what: &'static [&'static str],
    how: &'static [&'static str],
    titles: &'static [&'static str],
}

const ENGLISH: Parts = Parts {
    who: &[
        "The first idea",
        "A careful reader",
        "Our guest",
        "The old harbour",
        "Every honest measurement",
        "The team behind the project",
        "A small mistake",
        "The longest chapter",
        "Someone in the audience",
        "The evidence so far",
        "A neighbour of mine",
        "The slow part of the work",
        "This surprising result",
        "The people who live there",
        "A second look",
        "The question from last week",
        "One quiet morning",
        "The map on the wall",
        "That simple rule",
        "The whole story",
    ],
    what: &[
        "changes the way we think about the sea",
        "reminds me of a walk along the coast",
        "tells us more than the numbers do",
        "begins with a question that nobody asked",
        "gives the listener a reason to stay",
        "explains why the river turns north",
        "leads back to the same small village",
        "shows how patience pays in the end",
        "makes the difficult part easy to follow",
        "opens a door that was closed for years",
        "brings together two very different worlds",
        "depends on who is telling it",
        "shines a light on the forgotten details",
        "asks for a little more time and care",
        "turns a dry fact into a good story",
        "keeps the conversation moving forward",
        "hides a lesson for all of us",
        "deserves a better name than it has",
        "looks different from the other side",
        "stays with you long after the end",
    ],
    how: &[
        "when you look at it closely",
        "even on a cold and rainy day",
        "as far as anyone can tell",
        "without much noise or hurry",
        "because the details matter here",
        "long before the others arrive",
        "if we are honest with ourselves",
        "after a night of good sleep",
        "while the kettle is on the stove",
        "in a way that is hard to forget",
        "and that is worth a moment of thought",
        "just as the experts had hoped",
        "although few people noticed it then",
        "from the first page to the last",
        "once the tide has gone out",
        "with a smile at the right moment",
    ],
    titles: &[
        "Where it begins",
        "What the sea keeps",
        "A closer look",
        "The other side",
        "Questions worth asking",
        "The turning point",
        "Small things that matter",
        "How it holds together",
        "Voices from the coast",
        "What comes next",
        "An unexpected answer",
        "The road back",
    ],
};

const KOREAN: Parts = Parts {
    who: &[
        "오늘의 첫 번째 생각은",
        "꼼꼼한 독자는",
        "우리의 손님은",
        "오래된 항구는",
        "정직한 측정은",
        "이 일을 맡은 사람들은",
        "작은 실수 하나는",
        "가장 긴 이야기는",
        "객석에 있던 누군가는",
        "지금까지의 증거는",
        "이웃에 사는 친구는",
        "느리게 보이던 과정은",
        "뜻밖의 결과는",
        "그 마을 사람들은",
        "다시 들여다본 기록은",
        "지난주에 나온 질문은",
        "조용한 아침 풍경은",
        "벽에 걸린 지도는",
        "단순해 보이는 규칙은",
        "이 모든 과정은",
    ],
    what: &[
        "바다를 바라보는 눈을 바꿔 놓습니다",
        "해안을 걷던 기억을 떠올리게 합니다",
        "숫자보다 많은 것을 말해 줍니다",
        "아무도 묻지 않은 물음에서 시작합니다",
        "듣는 사람에게 머물 이유를 줍니다",
        "강이 북쪽으로 꺾이는 까닭을 설명합니다",
        "같은 작은 마을로 되돌아갑니다",
        "기다림의 가치를 보여 줍니다",
        "어려운 대목을 쉽게 풀어 줍니다",
        "오래 닫혀 있던 문을 열어 줍니다",
        "서로 다른 두 세계를 이어 줍니다",
        "누가 말하느냐에 따라 달라집니다",
        "잊힌 부분에 다시 빛을 비춥니다",
        "조금 더 많은 시간과 정성을 바랍니다",
        "딱딱한 사실을 좋은 이야기로 바꿉니다",
        "대화를 자연스럽게 앞으로 이끕니다",
        "우리 모두에게 교훈을 남깁니다",
        "더 나은 이름을 얻을 만합니다",
        "반대편에서 보면 전혀 다르게 보입니다",
        "끝난 뒤에도 오래 마음에 남습니다",
    ],
    how: &[
        "가까이에서 보면",
        "춥고 비 오는 날에도",
        "우리가 아는 한",
        "서두르지 않고",
        "작은 차이가 중요하기 때문에",
        "다른 사람들이 오기 훨씬 전부터",
        "솔직하게 말하면",
        "푹 자고 일어난 다음 날",
        "주전자가 끓는 동안",
        "쉽게 잊기 어려운 방식으로",
        "한 번쯤 생각해 보면",
        "전문가들이 바라던 대로",
        "그때는 아무도 몰랐지만",
        "첫 장부터 마지막 장까지",
        "물이 빠지고 나면",
        "알맞은 순간의 웃음과 함께",
    ],
    titles: &[
        "이야기의 시작",
        "바다가 간직한 것",
        "한 걸음 더 가까이",
        "건너편의 풍경",
        "물어볼 만한 질문",
        "달라지는 순간",
        "작지만 소중한 것들",
        "서로 이어지는 방식",
        "해안에서 온 목소리",
        "다음에 올 것들",
        "뜻밖의 대답",
        "돌아오는 길",
    ],
};

pub(super) struct Prose {
    korean: bool,
    random: fastrand::Rng,
    told: HashSet<(usize, usize, usize)>,
    titles: usize,
}

impl Prose {
    /// Equal seeds tell the same.
    pub(super) fn new(language: Language, seed: u64) -> Prose {
        let mut random = fastrand::Rng::with_seed(seed);
        let titles = random.usize(..ENGLISH.titles.len());
        Prose { korean: language == Language::Ko, random, told: HashSet::new(), titles }
    }

    fn parts(&self) -> &'static Parts {
        if self.korean { &KOREAN } else { &ENGLISH }
    }

    pub(super) fn title(&mut self) -> String {
        let titles = self.parts().titles;
        self.titles += 1;
        let title = titles[self.titles % titles.len()];
        match self.titles / titles.len() {
            0 | 1 => title.to_owned(),
            round => format!("{title} {round}"),
        }
    }

    /// One that was not told before, as long as there are any.
    pub(super) fn sentence(&mut self) -> String {
        let parts = self.parts();
        let mut pick = (0, 0, 0);
        for _ in 0..200 {
            let random = &mut self.random;
            // Every other sentence or so has no circumstances.
            pick = (
                random.usize(..parts.who.len()),
                random.usize(..parts.what.len()),
                random.usize(..parts.how.len() * 2).min(parts.how.len()),
            );
            if self.told.insert(pick) {
                break;
            }
        }
        let (who, what) = (parts.who[pick.0], parts.what[pick.1]);
        match (parts.how.get(pick.2), self.korean) {
            (None, _) => format!("{who} {what}."),
            (Some(how), true) => format!("{how} {who} {what}."),
            (Some(how), false) => format!("{who} {what} {how}."),
        }
    }

    /// Sentences of about `amount` in all, to within half a sentence; at least one.
    pub(super) fn passage(&mut self, amount: f64, unit: Unit) -> String {
        let mut text = self.sentence();
        let mut length = unit.count(&text);
        loop {
            let next = self.sentence();
            let more = unit.count(&next);
            if length + more / 2.0 > amount {
                return text;
            }
            text.push(' ');
            text.push_str(&next);
            length += more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_tell_the_same_and_no_sentence_twice() {
        for language in [Language::En, Language::Ko] {
            let told = |seed| {
                let mut prose = Prose::new(language, seed);
                (0..1000).map(|_| prose.sentence()).collect::<Vec<_>>()
            };
            let sentences = told(5);
            assert_eq!(sentences, told(5));
            assert_ne!(sentences, told(6));
            let different: HashSet<&String> = sentences.iter().collect();
            assert!(different.len() > 990, "{}", different.len());
        }
    }

    #[test]
    fn passages_are_as_long_as_asked() {
        for (language, unit) in
            [(Language::En, Unit::Words), (Language::Ko, Unit::Syllables), (Language::Ko, Unit::Words)]
        {
            let mut prose = Prose::new(language, 1);
            let length = unit.count(&prose.passage(500.0, unit));
            assert!((length - 500.0).abs() < 20.0, "{length}");
        }
    }

    #[test]
    fn korean_is_korean() {
        let sentence = Prose::new(Language::Ko, 2).sentence();
        assert!(
            sentence.ends_with("니다.") && sentence.chars().all(|c| !c.is_ascii_alphabetic()),
            "{sentence}"
        );
    }
}
