//! The files of the pages, embedded. Their addresses name their content, so browsers may keep them for ever.
//!
//! htmx 2.0.11, as published (`dist/htmx.min.js`, SHA-256
//! `d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717`), Zero-Clause BSD. The others are ours.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, PreEscaped};

use super::super::problem::Problem;

struct Asset {
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
}

const ASSETS: &[Asset] = &[
    Asset {
        name: "htmx.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("assets/htmx-2.0.11.min.js"),
    },
    Asset {
        name: "dashboard.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("assets/dashboard.js"),
    },
    Asset {
        name: "dashboard.css",
        content_type: "text/css; charset=utf-8",
        text: include_str!("assets/dashboard.css"),
    },
    Asset { name: "icon.svg", content_type: "image/svg+xml", text: include_str!("assets/icon.svg") },
];

pub(in crate::http) async fn serve(Path(name): Path<String>) -> Result<Response, Problem> {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "not-found", "There is no such file"));
    };
    let headers = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, asset.text).into_response())
}

/// Where a page finds a file as it is now.
pub(super) fn address(name: &str) -> String {
    let text = ASSETS.iter().find(|asset| asset.name == name).map_or("", |asset| asset.text);
    let hash = blake3::hash(text.as_bytes()).to_hex();
    format!("/assets/{name}?v={}", &hash[..12])
}

/// The sign of the brand, drawn in the colour of the text around it.
pub(super) fn mark() -> Markup {
    PreEscaped(
        r#"<svg class="mark" viewBox="0 0 24 24" width="22" height="22" aria-hidden="true"><g fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round"><path d="M4 10v4M8 6v12M12 3v18M16 7v10M20 10v4"/></g></svg>"#
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn htmx_is_the_published_file() {
        let htmx = ASSETS[0].text.as_bytes();
        let digest = ring::digest::digest(&ring::digest::SHA256, htmx);
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717");
    }

    #[test]
    fn an_address_is_the_contents_own() {
        assert_ne!(address("dashboard.js").rsplit('=').next(), address("dashboard.css").rsplit('=').next());
    }
}
