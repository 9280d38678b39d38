{{ current_version('gl_entry', key=['journal_id', 'journal_line_number']) }}
