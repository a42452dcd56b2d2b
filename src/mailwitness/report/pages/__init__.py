"""Pages for one kind of reader each: content as blocks, written once, set as HTML or as Markdown."""
