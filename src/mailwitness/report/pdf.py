"""A page as PDF. The optional package weasyprint sets it; nothing is fetched, whatever the page names."""

from __future__ import annotations

import io

from mailwitness.errors import ConfigError

_MISSING = (
    "Install the extra with `pip install 'mailwitness[pdf]'`, or write HTML and print it from a browser."
)


def pdf_of(page: str) -> bytes:
    """Set an HTML page as PDF (tagged, so that a screen reader can follow it); the same page gives the same bytes.

    Raises:
        ConfigError: weasyprint, or a library of the system that it needs, is not installed.
    """
    try:
        from weasyprint import HTML  # noqa: PLC0415 - an optional package, slow to import
        from weasyprint.urls import URLFetcher  # noqa: PLC0415 - as above
    except (ImportError, OSError) as error:  # OSError: Pango is not there
        raise ConfigError(
            f"a PDF needs the package weasyprint: {error}", place="--format pdf", remedy=_MISSING
        ) from error

    out = io.BytesIO()
    # No protocol is allowed, not even file: and data: - a page refers to nothing outside itself.
    HTML(string=page, url_fetcher=URLFetcher(allowed_protocols=())).write_pdf(out, pdf_tags=True)
    return out.getvalue()
