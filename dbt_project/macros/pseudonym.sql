{#
    The pseudonym of a personal value: the letter of its class and 12 hex digits of an HMAC-SHA256 of class and value,
    the same in every table and release as long as the key is. Null without a key: the value is withheld.

    The key is a variable of the session (pipelines/pseudonyms.py), so it stands in no compiled SQL, log or table. Ways of
    writing do not count: case, spaces and composed characters; of a telephone number only its digits. Free text has no
    pseudonym: it is dropped.
#}
{% macro pseudonym(class, value) -%}
    '{{ _class_letter(class) }}-'
    || left({{ keyed_hash("'" ~ class ~ ":' || " ~ _as_compared(class, value)) }}, 12)
{%- endmacro %}

{% macro _class_letter(class) -%}
    {{- {
        'name': 'n',
        'email': 'e',
        'phone': 'p',
        'tax_id': 't',
        'bank_reference': 'b',
        'internal_user': 'u',
    }[class] or exceptions.raise_compiler_error("there is no pseudonym of the class '" ~ class ~ "'") -}}
{%- endmacro %}

{% macro _as_compared(class, value) -%}
    {%- if class == 'phone' -%}
        {{ without(value, '[^0-9]') }}
    {%- else -%}
        {{ lower_case(without(composed(value), '[\\s\\p{Z}]+')) }}
    {%- endif -%}
{%- endmacro %}
