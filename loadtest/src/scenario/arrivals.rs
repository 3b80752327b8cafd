//! When requests arrive, from whom, and about what: all of it from a seed, before anything is sent.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Scenario;

/// One request to come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    pub at: Duration,
    pub user: u32,
    pub article: usize,
    pub chapters: usize,
    pub door: Door,
    pub screen: Screen,
}

/// How a request comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Http,
    Amqp,
}

/// How its progress is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    ServerSentEvents,
    WebSocket,
}

/// A Poisson process: the gaps between requests are exponential, so they bunch as real ones do. A quarter comes over AMQP, and half
/// are followed over a WebSocket.
pub fn arrivals(scenario: &Scenario, seed: u64) -> Vec<Arrival> {
    let mut random = fastrand::Rng::with_seed(seed);
    let popularity = scenario.articles.map(Popularity::zipf);
    let per_second = scenario.requests_per_minute / 60.0 * scenario.faster;
    let last = scenario.lasts().as_secs_f64();
    let mut arrivals = Vec::new();
    let mut at = 0.0;
    loop {
        at -= (1.0 - random.f64()).ln() / per_second;
        if at >= last {
            return arrivals;
        }
        let article = popularity.as_ref().map_or(arrivals.len(), |popularity| popularity.choose(&mut random));
        let chapters = chapters(scenario.chapters, &mut random);
        arrivals.push(Arrival {
            at: Duration::from_secs_f64(at),
            user: random.u32(0..scenario.users),
            article,
            chapters,
            door: if random.u8(0..4) == 0 { Door::Amqp } else { Door::Http },
            screen: if random.bool() { Screen::WebSocket } else { Screen::ServerSentEvents },
        });
    }
}

fn chapters(shares: &[(u8, usize)], random: &mut fastrand::Rng) -> usize {
    let [rest @ .., (_, last)] = shares else { return 0 };
    if rest.is_empty() {
        return *last;
    }
    let mut drawn = random.u8(0..100);
    for (share, chapters) in rest {
        if drawn < *share {
            return *chapters;
        }
        drawn -= share;
    }
    *last
}

/// The highest share of hits that a cache could have: every request but the first about an article, as long as nothing is
/// forgotten in between.
pub fn highest_hit_rate(arrivals: &[Arrival]) -> Option<f64> {
    let articles: BTreeSet<usize> = arrivals.iter().map(|arrival| arrival.article).collect();
    (!arrivals.is_empty()).then(|| 1.0 - articles.len() as f64 / arrivals.len() as f64)
}

/// The article of rank r is asked for in proportion to 1/r.
struct Popularity {
    up_to: Vec<f64>,
}

impl Popularity {
    fn zipf(articles: usize) -> Popularity {
        let mut sum = 0.0;
        let up_to = (1..=articles.max(1))
            .map(|rank| {
                sum += 1.0 / rank as f64;
                sum
            })
            .collect();
        Popularity { up_to }
    }

    fn choose(&self, random: &mut fastrand::Rng) -> usize {
        let drawn = random.f64() * self.up_to.last().copied().unwrap_or_default();
        self.up_to.partition_point(|up_to| *up_to <= drawn).min(self.up_to.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(requests_per_minute: f64, minutes: f64, articles: Option<usize>) -> Scenario {
        Scenario { requests_per_minute, minutes, articles, ..Scenario::named("light").unwrap() }
    }

    #[test]
    fn requests_come_at_their_rate_and_bunch() {
        let arrivals = arrivals(&scenario(600.0, 10.0, None), 1);
        assert!((5700..6300).contains(&arrivals.len()), "{}", arrivals.len());
        assert!(arrivals.is_sorted_by_key(|arrival| arrival.at));
        let gaps: Vec<f64> =
            arrivals.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // Of an exponential distribution the deviation is the mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.1, "{}", variance.sqrt() / mean);
        let over_amqp = arrivals.iter().filter(|arrival| arrival.door == Door::Amqp).count();
        assert!((over_amqp as f64 / arrivals.len() as f64 - 0.25).abs() < 0.03);
        assert!(arrivals.iter().all(|arrival| arrival.user < 10));
    }

    #[test]
    fn some_podcasts_are_long_where_the_scenario_says_so() {
        let scenario = Scenario { requests_per_minute: 600.0, ..Scenario::named("order").unwrap() };
        let all = arrivals(&scenario, 1);
        let long = all.iter().filter(|arrival| arrival.chapters == 20).count() as f64 / all.len() as f64;
        assert!((long - 0.2).abs() < 0.03, "{long}");
        assert!(all.iter().all(|arrival| [2, 20].contains(&arrival.chapters)));
    }

    #[test]
    fn the_seed_decides() {
        let scenario = scenario(60.0, 2.0, Some(20));
        assert_eq!(arrivals(&scenario, 7), arrivals(&scenario, 7));
        assert_ne!(arrivals(&scenario, 7), arrivals(&scenario, 8));
    }

    #[test]
    fn faster_means_the_same_requests_in_less_time() {
        let slow = scenario(60.0, 10.0, None);
        let fast = Scenario { faster: 10.0, ..slow.clone() };
        let (slow, fast) = (arrivals(&slow, 1), arrivals(&fast, 1));
        assert_eq!(slow.len(), fast.len());
        let last = |arrivals: &[Arrival]| arrivals.last().unwrap().at.as_secs_f64();
        assert!((last(&slow) / last(&fast) - 10.0).abs() < 1e-6);
    }

    #[test]
    fn popular_articles_are_asked_for_in_proportion_to_their_rank() {
        let arrivals = arrivals(&scenario(6000.0, 10.0, Some(200)), 3);
        let count = |article| arrivals.iter().filter(|arrival| arrival.article == article).count() as f64;
        assert!((count(0) / count(9) - 10.0).abs() < 1.5, "{} {}", count(0), count(9));
        assert!(arrivals.iter().all(|arrival| arrival.article < 200));
        assert!(highest_hit_rate(&arrivals).unwrap() > 0.99);
    }

    #[test]
    fn only_the_first_request_about_an_article_has_to_miss() {
        let about = |article| Arrival {
            at: Duration::ZERO,
            user: 0,
            article,
            chapters: 5,
            door: Door::Http,
            screen: Screen::WebSocket,
        };
        assert_eq!(highest_hit_rate(&[about(1), about(2), about(1), about(1)]), Some(0.5));
        assert_eq!(highest_hit_rate(&[about(1), about(2)]), Some(0.0));
        assert_eq!(highest_hit_rate(&[]), None);
    }
}
