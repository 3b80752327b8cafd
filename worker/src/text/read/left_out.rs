//! Text that is not part of the text: what pages say to their visitors, and lists of sources.

/// A line of these words alone.
const LINES: &[&str] = &[
    "skip to content",
    "skip to main content",
    "skip to navigation",
    "jump to content",
    "advertisement",
    "sponsored",
    "sponsored content",
    "share",
    "share this",
    "share this article",
    "share this post",
    "tweet",
    "read more",
    "continue reading",
    "table of contents",
    "contents",
    "on this page",
    "back to top",
    "sign in",
    "log in",
    "sign up",
    "subscribe",
    "menu",
    "search",
    "home",
    "previous",
    "next",
    "related articles",
    "related posts",
    "leave a comment",
    "comments",
    "print",
    "email",
    "copy link",
    "follow us",
    "accept all",
    "accept",
    "reject all",
    "edit",
    "view source",
    "본문 바로가기",
    "본문으로 바로가기",
    "본문으로 건너뛰기",
    "메뉴 바로가기",
    "메뉴",
    "검색",
    "로그인",
    "회원가입",
    "공유하기",
    "공유",
    "목차",
    "광고",
    "관련 기사",
    "관련 글",
    "더 보기",
    "더보기",
    "댓글",
    "인쇄",
    "맨 위로",
    "이전 글",
    "다음 글",
    "구독하기",
    "zum inhalt springen",
    "inhaltsverzeichnis",
    "anzeige",
    "teilen",
    "aller au contenu",
    "sommaire",
    "publicité",
    "partager",
    "ir al contenido",
    "índice",
    "publicidad",
    "compartir",
    "vai al contenuto",
    "pubblicità",
    "indice",
    "condividi",
    "pular para o conteúdo",
    "partilhar",
    "compartilhar",
    "本文へスキップ",
    "目次",
    "広告",
    "シェア",
    "跳到主要内容",
    "目录",
    "广告",
    "分享",
];

/// Headings of what only refers to other texts.
const BACK_MATTER: &[&str] = &[
    "references",
    "external links",
    "see also",
    "further reading",
    "footnotes",
    "notes",
    "bibliography",
    "sources",
    "works cited",
    "citations",
    "related articles",
    "related posts",
    "comments",
    "share this",
    "navigation menu",
    "table of contents",
    "contents",
    "참고 문헌",
    "참고문헌",
    "참고 자료",
    "참고자료",
    "외부 링크",
    "같이 보기",
    "각주",
    "주석",
    "출처",
    "관련 기사",
    "관련 글",
    "댓글",
    "목차",
    "einzelnachweise",
    "weblinks",
    "literatur",
    "siehe auch",
    "quellen",
    "inhaltsverzeichnis",
    "références",
    "liens externes",
    "voir aussi",
    "bibliographie",
    "notes et références",
    "sommaire",
    "referencias",
    "enlaces externos",
    "véase también",
    "bibliografía",
    "note",
    "bibliografia",
    "collegamenti esterni",
    "voci correlate",
    "referências",
    "ligações externas",
    "ver também",
    "参考文献",
    "脚注",
    "外部リンク",
    "関連項目",
    "出典",
    "外部链接",
    "参见",
    "参考资料",
];

/// Consent, in the languages of those who must ask for it.
const CONSENT: &[&str] = &[
    "accept",
    "consent",
    "agree",
    "preferences",
    "we use",
    "uses cookies",
    "동의",
    "허용",
    "사용합니다",
    "이용합니다",
    "zustimm",
    "akzeptier",
    "verwenden",
    "accepter",
    "utilisons",
    "acept",
    "utilizamos",
    "accett",
    "utilizziamo",
    "aceit",
    "同意",
    "使用",
];

/// A short paragraph that begins so sends its reader elsewhere.
const POINTERS: &[&str] = &[
    "read more",
    "for more information",
    "see also",
    "click here",
    "자세한 내용은",
    "더 읽기",
    "더 알아보기",
    "mehr dazu",
    "lesen sie auch",
    "weiterlesen",
    "en savoir plus",
    "lire aussi",
    "lee también",
    "más información",
    "leggi anche",
    "leia também",
    "leia mais",
    "あわせて読みたい",
    "詳しくは",
    "了解更多",
    "阅读更多",
];
const POINTER_MAX_CHARS: usize = 100;

/// A longer block is text, whatever it mentions.
const NOTICE_MAX_CHARS: usize = 300;

/// A block of the page's own: a button's label, a consent to cookies, a copyright notice.
pub(super) fn is_boilerplate(text: &str) -> bool {
    let line = folded(text);
    if LINES.contains(&line.as_str()) {
        return true;
    }
    if text.chars().count() > NOTICE_MAX_CHARS {
        return false;
    }
    let pointer =
        text.chars().count() <= POINTER_MAX_CHARS && POINTERS.iter().any(|start| line.starts_with(start));
    let cookies = line.contains("cookie") || line.contains("쿠키");
    let notice = line.starts_with('©')
        || line.starts_with("copyright ©")
        || line.starts_with("copyright (c)")
        || line.ends_with("all rights reserved")
        || line.contains("무단 전재") && line.contains("금지");
    let bars = text.matches(" | ").count().max(text.matches(" > ").count()).max(text.matches(" » ").count());
    let trail = bars >= 2 && !text.ends_with(super::ENDS);
    (cookies && CONSENT.iter().any(|word| line.contains(word))) || notice || trail || pointer
}

/// The heading of a list of sources or links.
pub(super) fn is_back_matter(heading: &str) -> bool {
    BACK_MATTER.contains(&folded(heading).as_str())
}

fn folded(text: &str) -> String {
    let text = text.trim().trim_end_matches([':', '.', '…', '!', '»', '→', '›']).to_lowercase();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
