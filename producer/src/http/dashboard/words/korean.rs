//! The Korean texts, by the English ones.

pub(super) fn of(english: &str) -> Option<&'static str> {
    Some(match english {
        "95 of 100 took" => "95%의 소요 시간",
        "A deadline" => "마감 시간",
        "A message" => "메시지",
        "About this letter" => "이 항목에 대하여",
        "About {0} more, at its pace so far." => "지금까지의 속도로 보면 약 {0} 남았습니다.",
        "All" => "전체",
        "Alone" => "단독",
        "An admin of your tenant makes keys, or whoever runs this server:" => {
            "키는 테넌트 관리자나 이 서버의 운영자가 만듭니다:"
        }
        "An older worker handed it back" => "이전 버전의 워커가 돌려보냄",
        "Answered attempts of each minute; the table below tells the same" => {
            "분마다 끝난 시도. 아래 표에 같은 내용이 있습니다"
        }
        "Any voice" => "아무 목소리나",
        "Article" => "글",
        "As a table" => "표로 보기",
        "As each told of itself, at most half a minute ago." => "각 워커가 최근 30초 안에 알린 내용입니다.",
        "As the text is" => "글의 언어대로",
        "Asked for" => "요청 시각",
        "At a time" => "동시 작업",
        "At this rate it takes {0} minutes or more." => "이 속도로는 {0}분 이상 걸립니다.",
        "Attempt" => "시도",
        "Attempts" => "시도",
        "Attempts failed" => "실패한 시도",
        "Audit trail" => "감사 기록",
        "Back to the letters" => "목록으로 돌아가기",
        "Back to the podcasts" => "팟캐스트 목록으로",
        "Because" => "원인",
        "Began after" => "시작까지",
        "Begun" => "시작",
        "Being made" => "제작 중",
        "By" => "요청자",
        "By cause" => "원인별",
        "Cancel this podcast" => "이 팟캐스트 취소",
        "Cancelled" => "취소됨",
        "Cause" => "원인",
        "Change the priority" => "우선순위 바꾸기",
        "Chapters" => "챕터",
        "Clear" => "초기화",
        "Cost" => "비용",
        "Dead letters" => "실패한 작업",
        "Debate" => "토론",
        "Decide" => "처리",
        "Dialogue" => "대화",
        "Discard" => "폐기",
        "Discarded" => "폐기됨",
        "Done" => "완료",
        "Download:" => "내려받기:",
        "Edit and replay" => "고쳐서 재실행",
        "Edit the script" => "대본 고치기",
        "Edit what goes in, and replay it so. To see it is noted in the audit trail." => {
            "입력을 고쳐서 다시 실행합니다. 열어 본 사실은 감사 기록에 남습니다."
        }
        "End" => "끝",
        "Ended" => "종료",
        "Engine" => "엔진",
        "Engines" => "엔진",
        "Episode" => "에피소드",
        "Equal work that was done before saved {0} calls and {1}." => {
            "이전에 끝낸 같은 작업 덕분에 호출 {0}회와 {1}을(를) 아꼈습니다."
        }
        "Erase for ever" => "영구 삭제",
        "Every attempt" => "모든 시도",
        "Every attempt ({0})" => "모든 시도 ({0})",
        "Failed" => "실패",
        "Files" => "파일",
        "Files that others need, which stay" => "다른 팟캐스트가 쓰는 파일 (남음)",
        "Finish without" => "빼고 완성",
        "Finished" => "완성",
        "Format" => "형식",
        "Found, not made again" => "재사용",
        "From (day, UTC)" => "시작일 (UTC)",
        "Given up" => "포기한 시각",
        "Go back to send it, or to change it." => "돌아가서 보내거나 고치세요.",
        "Go on" => "계속",
        "Half of speech took" => "음성 절반의 소요 시간",
        "Handed back, not started" => "시작하지 않고 돌려보냄",
        "Has time until" => "마감",
        "High" => "높음",
        "How long it takes is not known yet: you have no finished podcast to go by." => {
            "얼마나 걸릴지는 아직 알 수 없습니다. 기준으로 삼을 완성된 팟캐스트가 없습니다."
        }
        "In all it cost {0}." => "모두 {0}이(가) 들었습니다.",
        "Interview" => "인터뷰",
        "Is doing" => "하는 일",
        "It begins with one letter, then a few, then more; it stops by itself when the same cause comes back." => {
            "하나부터 시작해 점점 늘리며, 같은 원인이 다시 나타나면 저절로 멈춥니다."
        }
        "It costs about {0}." => "비용은 약 {0}입니다.",
        "It costs nothing: the engines have no price." => "비용이 들지 않습니다. 엔진에 가격이 없습니다.",
        "It could not be replayed. Open the letter again to see why" => {
            "재실행하지 못했습니다. 항목을 다시 열어 이유를 확인하세요"
        }
        "It failed at the stage {0}: {1}." => "{0} 단계에서 실패했습니다: {1}.",
        "It goes on where it stopped; what is finished stays." => {
            "멈춘 곳부터 이어지고, 끝난 것은 그대로 남습니다."
        }
        "It waits for its outline. If nothing moves for long, see whether workers run." => {
            "개요를 기다리고 있습니다. 오래 움직이지 않으면 워커가 실행 중인지 확인하세요."
        }
        "It would cost about {0}, at the prices of these podcasts so far." => {
            "지금까지의 단가로 보면 약 {0}이(가) 듭니다."
        }
        "Its worker was interrupted" => "워커가 중단됨",
        "Lane" => "레인",
        "Lanes of the whole fleet" => "전체 레인",
        "Language" => "언어",
        "Last seen" => "마지막 발생",
        "Leave it as it is" => "그대로 두기",
        "Length" => "길이",
        "Length in minutes (open: all of the text)" => "길이(분) (비워 두면 글 전체)",
        "Letters" => "항목",
        "Letters a minute, at most" => "분당 최대 항목 수",
        "Letters decided about" => "처리한 항목",
        "Listen" => "듣기",
        "Listen to the voices" => "목소리 들어 보기",
        "Listen while it is made" => "만드는 동안 듣기",
        "Low" => "낮음",
        "Made" => "새로 만듦",
        "Make the next version" => "다음 버전 만들기",
        "Make the podcast" => "팟캐스트 만들기",
        "Minute" => "분",
        "Mix" => "믹싱",
        "Monologue" => "독백",
        "Name of speaker {0}" => "화자 {0}의 이름",
        "Names and voices may be left open. A monologue has one." => {
            "이름과 목소리는 비워 두어도 됩니다. 독백은 한 명입니다."
        }
        "New" => "새로 만들기",
        "New podcast" => "새 팟캐스트",
        "Next attempt:" => "다음 시도:",
        "No answer in time" => "제시간에 응답 없음",
        "No letter is like that." => "해당하는 항목이 없습니다.",
        "No podcast is like that." => "해당하는 팟캐스트가 없습니다.",
        "No worker has told of itself in the last two minutes. Start one: podfleet worker" => {
            "최근 2분 동안 소식을 전한 워커가 없습니다. 시작하세요: podfleet worker"
        }
        "Nobody has replayed many letters at once yet." => "아직 한꺼번에 재실행한 적이 없습니다.",
        "Normal" => "보통",
        "Not allowed" => "권한 없음",
        "Not found" => "찾을 수 없음",
        "Not possible any more" => "더는 할 수 없음",
        "Not titled yet" => "아직 제목 없음",
        "Nothing is erased yet. This would go:" => "아직 아무것도 지우지 않았습니다. 지워질 것:",
        "Nothing is paused." => "멈춘 작업이 없습니다.",
        "Nothing was changed." => "바뀐 것이 없습니다.",
        "Nothing was given up. All is well." => "포기한 작업이 없습니다. 모두 정상입니다.",
        "Now" => "지금",
        "Number" => "번호",
        "Of your tenant. What is under way is finished; what waits, waits until somebody lets it go on." => {
            "내 테넌트에만 적용됩니다. 진행 중인 작업은 끝내고, 대기 중인 작업은 다시 계속할 때까지 기다립니다."
        }
        "Older letters" => "이전 항목",
        "Older podcasts" => "이전 팟캐스트",
        "Only lines that you change are spoken again, and only their chapters are mixed again. The episode plays as it is until the new one is there." => {
            "바꾼 줄만 다시 녹음하고 그 챕터만 다시 믹싱합니다. 새 에피소드가 준비될 때까지 지금 것이 그대로 재생됩니다."
        }
        "Open" => "열림",
        "Or only a topic" => "또는 주제만",
        "Or the address of a page (choose its language)" => "또는 웹 페이지 주소 (언어를 고르세요)",
        "Outline" => "개요",
        "Pages" => "페이지",
        "Passed over" => "건너뜀",
        "Paste an article, and hear it a minute later." => "글을 붙여 넣으면 1분 뒤에 들을 수 있습니다.",
        "Paste plain text, Markdown or HTML, or drop a file here. Headings become chapters." => {
            "일반 텍스트, 마크다운, HTML을 붙여 넣거나 파일을 끌어다 놓으세요. 제목은 챕터가 됩니다."
        }
        "Pause" => "멈춤",
        "Pause work" => "작업 멈추기",
        "Pauses" => "일시 정지",
        "Play from {0}" => "{0}부터 재생",
        "Podcast" => "팟캐스트",
        "Podcasts" => "팟캐스트",
        "Podcasts: those that are being made, and those that ended in the last day. Figures: your own, of the last hour." => {
            "팟캐스트: 제작 중인 것과 최근 하루 동안 끝난 것. 수치: 최근 한 시간의 내 작업."
        }
        "Priority" => "우선순위",
        "Priority of what waits" => "대기 중인 작업의 우선순위",
        "Put in a text first." => "먼저 글을 넣으세요.",
        "Ready in about {0}, as your last podcasts took; longer while others wait." => {
            "최근 팟캐스트를 기준으로 약 {0} 뒤에 준비됩니다. 대기가 많으면 더 걸립니다."
        }
        "Removes the podcast, its sound, its texts and what is cached of it. Nobody can bring it back." => {
            "팟캐스트와 소리, 텍스트, 캐시를 모두 지웁니다. 되돌릴 수 없습니다."
        }
        "Replay" => "재실행",
        "Replay all that match" => "해당하는 모두 재실행",
        "Replay it; if it comes back, look at the workers' logs." => {
            "재실행하세요. 다시 나타나면 워커의 로그를 확인하세요."
        }
        "Replay them" => "재실행",
        "Replay with these changes" => "이 변경으로 재실행",
        "Replayed" => "재실행됨",
        "Replays of many" => "일괄 재실행",
        "Script" => "대본",
        "See what can be done" => "할 수 있는 일 보기",
        "Segments" => "구간",
        "Segments a second, last minute" => "초당 구간 (최근 1분)",
        "Segments spoken" => "녹음된 구간",
        "Segments that could not be spoken are left out; the transcript says so." => {
            "녹음하지 못한 구간을 빼고, 대본 기록에 표시합니다."
        }
        "Show" => "보기",
        "Show all" => "모두 보기",
        "Show all podcasts" => "모든 팟캐스트 보기",
        "Show and edit" => "열어서 고치기",
        "Show the difference" => "차이 보기",
        "Show what is open" => "열린 항목 보기",
        "Sign in" => "로그인",
        "Sign out" => "로그아웃",
        "Signed in: this machine is trusted" => "로그인됨: 이 컴퓨터를 신뢰함",
        "Since" => "처음 발생",
        "Skip to the content" => "본문으로 건너뛰기",
        "Some of its work failed, and is tried again:" => "일부 작업이 실패하여 다시 시도합니다:",
        "Something went wrong" => "문제가 생겼습니다",
        "Speaker {0}" => "화자 {0}",
        "Speakers" => "화자",
        "Speech" => "음성",
        "Stages" => "단계",
        "State" => "상태",
        "Step" => "단계",
        "Stop it; what waits stays open" => "멈추기 (기다리는 항목은 열린 채로 둠)",
        "Stopped" => "멈춤",
        "Take the text from a file" => "파일에서 글 가져오기",
        "That did not work" => "처리하지 못했습니다",
        "That is no key that opens: it was mistyped, revoked, or has expired." => {
            "열 수 없는 키입니다. 잘못 입력했거나, 폐기되었거나, 만료되었습니다."
        }
        "The connection is lost. This page goes on by itself when it is back." => {
            "연결이 끊겼습니다. 다시 연결되면 이 페이지가 저절로 이어집니다."
        }
        "The engine asked to wait" => "엔진이 기다리라고 함",
        "The engine asked to wait more often than a task may be made to wait. Replay when its quota allows, slowly." => {
            "엔진이 허용 횟수보다 자주 기다리라고 했습니다. 할당량이 허락할 때 천천히 재실행하세요."
        }
        "The engine cannot work as it is configured. Repair the configuration, then replay." => {
            "엔진이 현재 설정으로는 일할 수 없습니다. 설정을 고친 뒤 재실행하세요."
        }
        "The engine did not answer in time, again and again. When it is well again, replay; what is finished stays." => {
            "엔진이 거듭 제시간에 답하지 않았습니다. 회복되면 재실행하세요. 끝난 것은 그대로 남습니다."
        }
        "The engine failed" => "엔진 오류",
        "The engine failed again and again. When it is well again, replay; what is finished stays." => {
            "엔진이 거듭 실패했습니다. 회복되면 재실행하세요. 끝난 것은 그대로 남습니다."
        }
        "The engine is set up wrongly" => "엔진 설정이 잘못됨",
        "The first in line has waited" => "맨 앞의 대기 시간",
        "The message could not be used as it is. A request can be edited and replayed; or tell its sender, and discard it." => {
            "메시지를 그대로는 쓸 수 없습니다. 요청이라면 고쳐서 재실행하거나, 보낸 이에게 알리고 폐기하세요."
        }
        "The newest {0} are shown." => "최근 {0}개만 표시합니다.",
        "The next version is being made; until it is there, this one plays." => {
            "다음 버전을 만드는 중입니다. 준비될 때까지 이 버전이 재생됩니다."
        }
        "The podcast is being made. It can be edited when it is finished." => {
            "팟캐스트를 만드는 중입니다. 완성되면 고칠 수 있습니다."
        }
        "There are no podcasts yet." => "아직 팟캐스트가 없습니다.",
        "This cause" => "이 원인",
        "This could not be read in time. The rest of the page is as it is; look again in a moment." => {
            "제때 읽지 못했습니다. 페이지의 나머지는 정상이니 잠시 후 다시 확인하세요."
        }
        "This input cannot succeed" => "이 입력으로는 성공할 수 없음",
        "This input cannot succeed as it is. Edit and replay, or discard and ask for the podcast anew." => {
            "이 입력으로는 성공할 수 없습니다. 고쳐서 재실행하거나, 폐기하고 팟캐스트를 새로 요청하세요."
        }
        "Time of work" => "작업 시간",
        "Time ran out" => "시간 초과",
        "Time ran out before the podcast was finished. A replay gives it the time again that it was given when it was asked for." => {
            "팟캐스트가 끝나기 전에 시간이 다 되었습니다. 재실행하면 처음 요청할 때와 같은 시간이 다시 주어집니다."
        }
        "Times in UTC" => "UTC 시간",
        "Times in local time" => "현지 시간",
        "Title" => "제목",
        "Title (may be left open)" => "제목 (비워 두어도 됨)",
        "To (day, UTC)" => "종료일 (UTC)",
        "Took" => "걸린 시간",
        "Transcript" => "대본 기록",
        "Under way" => "진행 중",
        "Unknown" => "알 수 없음",
        "Version" => "버전",
        "Version {0}" => "버전 {0}",
        "Voice" => "목소리",
        "Voice of speaker {0}" => "화자 {0}의 목소리",
        "Voice {0}" => "목소리 {0}",
        "Waiting" => "대기",
        "Waits until the engine is tried again" => "엔진을 다시 시도할 때까지 대기",
        "What" => "대상",
        "What came of it" => "결과",
        "What goes in (JSON)" => "입력 (JSON)",
        "What is spoken already plays at once; the rest follows as it comes." => {
            "이미 녹음된 부분은 바로 재생되고, 나머지는 완성되는 대로 이어집니다."
        }
        "What it took" => "들어간 작업",
        "What it would come to" => "예상",
        "What it would cost is not known: nothing of the kind was paid for in these podcasts yet." => {
            "비용은 알 수 없습니다. 이 팟캐스트들에서 같은 종류의 비용이 아직 든 적이 없습니다."
        }
        "What people wrote is hidden." => "사람이 쓴 내용은 가려져 있습니다.",
        "What was asked for" => "요청 내용",
        "What was given up, and waits for somebody to decide. A replay goes on where it stopped; what is finished stays." => {
            "포기하여 사람의 결정을 기다리는 작업입니다. 재실행하면 멈춘 곳부터 이어지고, 끝난 것은 그대로 남습니다."
        }
        "What went in" => "입력",
        "What would it come to?" => "어떻게 될지 보기",
        "Whatever ran this task was killed each time, also when it ran alone: its input is suspected. Look at the payload; edit and replay, or discard." => {
            "이 작업을 실행한 워커가 매번, 혼자 실행할 때도 중단되었습니다. 입력이 의심됩니다. 내용을 살펴보고 고쳐서 재실행하거나 폐기하세요."
        }
        "When" => "시점",
        "Whoever has the role support can decide about it." => {
            "support 역할이 있는 사람이 처리할 수 있습니다."
        }
        "Whoever has the role support can see it." => "support 역할이 있는 사람은 볼 수 있습니다.",
        "Whoever uses this machine is the admin of the tenant default, without a key. Not for production." => {
            "이 컴퓨터를 쓰는 사람은 키 없이 default 테넌트의 관리자입니다. 운영 환경에는 쓰지 마세요."
        }
        "Why" => "이유",
        "Why (may be left open)" => "이유 (비워 두어도 됨)",
        "Why (whoever reads the audit trail sees it)" => "이유 (감사 기록에 남습니다)",
        "Why does it go on?" => "왜 계속합니까?",
        "Why is it discarded?" => "왜 폐기합니까?",
        "Why is it paused?" => "왜 멈춥니까?",
        "Why is it replayed?" => "왜 재실행합니까?",
        "Why?" => "이유",
        "Work" => "작업",
        "Work of the last hour, by the minute" => "최근 한 시간의 분당 작업",
        "Worker" => "워커",
        "Workers" => "워커",
        "Your key" => "키",
        "Your key and its role" => "키와 역할",
        "all letters of it" => "이 원인의 모든 항목",
        "all tenants" => "모든 테넌트",
        "all work" => "모든 작업",
        "and {0} more" => "외 {0}개",
        "attempt" => "시도",
        "chapters" => "챕터",
        "is being mixed" => "믹싱 중",
        "is being spoken" => "녹음 중",
        "is being written" => "작성 중",
        "leaving" => "종료 중",
        "nothing" => "없음",
        "part" => "부분",
        "podcast" => "팟캐스트",
        "ready" => "준비됨",
        "say it another way" => "다르게 말하기",
        "seen {0} times" => "{0}번 발생",
        "sound (MP3)" => "소리 (MP3)",
        "text" => "텍스트",
        "was discarded" => "폐기됨",
        "was edited and replayed" => "고쳐서 재실행됨",
        "was looked at in full" => "내용을 열어 봄",
        "was replayed" => "재실행됨",
        "{0} by {1}" => "{1}의 {0}",
        "{0} characters make about {1} minutes of sound." => "{0}자는 약 {1}분 분량입니다.",
        "{0} letters of {1} podcasts would be replayed. Nothing has happened yet." => {
            "팟캐스트 {1}개의 항목 {0}개를 재실행하게 됩니다. 아직 아무 일도 일어나지 않았습니다."
        }
        "{0} minutes" => "{0}분",
        "{0} more match and cannot be replayed: messages of the fleet's own." => {
            "{0}개가 더 해당하지만 시스템 내부 메시지라 재실행할 수 없습니다."
        }
        "{0} of them are requests, which would be handed in again." => {
            "그중 {0}개는 요청이며, 다시 접수됩니다."
        }
        "{0} tasks" => "작업 {0}개",
        "{0} tasks of others, or done since" => "다른 테넌트이거나 이미 끝난 작업 {0}개",
        "{0}, of up to {1} letters" => "{0}단계, 최대 {1}개",
        "{0}, {1} MB" => "{0}, {1} MB",
        _ => return None,
    })
}

/// What a problem of the API means; its own words, in English, stand below.
pub(super) fn problem(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "already-ended" => "이미 끝난 상태라 처리할 수 없습니다.",
        "already-settled" => "다른 사람이 먼저 처리했습니다.",
        "backlog" => "시작을 기다리는 팟캐스트가 너무 많습니다. 저장된 것은 없으니 잠시 후 다시 시도하세요.",
        "disk-full" => "서버의 디스크가 가득 찼습니다. 저장된 것은 없으니 나중에 다시 시도하세요.",
        "forbidden" => "이 작업을 할 권한이 없습니다.",
        "foreign-origin" => "다른 사이트에서 온 요청이라 거절했습니다.",
        "idempotency-conflict" => "같은 양식이 다른 내용으로 이미 접수되었습니다. 새 양식을 여세요.",
        "internal" => "서버에 문제가 생겼습니다. 자세한 내용은 서버 로그에 있습니다.",
        "invalid-request" => "입력한 내용에 고칠 것이 있습니다.",
        "limit-exceeded" => "허용된 사용량을 넘었습니다. 나중에 다시 시도하세요.",
        "method-not-allowed" => "이 주소에서는 할 수 없는 요청입니다.",
        "no-sample" => "지금은 이 목소리를 들을 수 없습니다.",
        "not-completed" => "아직 완성되지 않았습니다.",
        "not-erasable" => "지금 상태에서는 지울 수 없습니다.",
        "not-found" => "찾을 수 없습니다. 주소가 잘못되었거나 지워졌습니다.",
        "not-replayable" => "재실행할 수 없습니다.",
        "not-revisable" => "지금 상태에서는 새 버전을 만들 수 없습니다.",
        "overloaded" => "지금은 요청이 너무 많습니다. 잠시 후 다시 시도하세요.",
        "range-not-satisfiable" => "요청한 부분이 파일에 없습니다.",
        "stale-form" => {
            "페이지가 오래되었거나 양식이 올바르지 않습니다. 처리된 것은 없으니 페이지를 다시 열고 한 번 더 보내세요."
        }
        "timeout" => "제때 응답하지 못했습니다. 잠시 후 다시 시도하세요.",
        "too-large" => "보낸 내용이 너무 큽니다.",
        "too-slow" => "보내는 데 시간이 너무 오래 걸려 중단했습니다.",
        "unauthorized" => "로그인이 필요합니다.",
        "unavailable" => "지금은 데이터베이스를 쓸 수 없습니다. 잃은 것은 없으니 잠시 후 다시 시도하세요.",
        "unsupported-media-type" => "지원하지 않는 형식입니다.",
        "upgrade-required" => "이 주소는 WebSocket 전용입니다.",
        _ => return None,
    })
}
