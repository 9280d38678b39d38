{#
    The forms in which names and tax numbers are compared. What they drop is spelling (case, width, blanks, punctuation);
    legal forms such as 有限公司 or Co. Ltd stay, because to drop them would be a guess.
#}

{# Full-width letters, digits and signs, as East Asian input methods write them, as their ASCII ones. #}
{% macro half_width(text) -%}
    translate(
        {{ text }},
        'ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ０１２３４５６７８９＆＃＠％＋',
        'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789&#@%+'
    )
{%- endmacro %}

{# A name without case, width, blanks and punctuation; null when nothing is left. & # @ % tell names apart. #}
{% macro normalised_name(name) -%}
    nullif(
        {{ without(
            lower_case(half_width(composed(name))),
            '[\\s\\p{Z}\\p{C}\\p{Pc}\\p{Pd}\\p{Ps}\\p{Pe}\\p{Pi}\\p{Pf}!"\'\'*,./:;?\\\\¡¿§¶·‧•…、。〃・！＂＇＊，．／：；？＼｡､･]'
        ) }},
        ''
    )
{%- endmacro %}

{#
    The key of a name: the same for every spelling of it, and no name itself. It can become a published customer id, and a
    plain hash is found by trying names: so it is keyed where the session has a key.
#}
{% macro name_key(name) -%}
    'name:' || substr(
        coalesce(
            {{ keyed_hash("'customer:' || " ~ normalised_name(name)) }},
            md5({{ normalised_name(name) }})
        ),
        1, 16
    )
{%- endmacro %}

{# A tax number without case, width and separators; null for what only fills the field (0, n/a, 000000). #}
{% macro normalised_tax_id(number) -%}
    {%- set plain = without(upper_case(half_width(number)), '[^\\p{L}\\p{N}]') -%}
    case
        when
            length({{ plain }}) >= 5
            and {{ without(plain, '[0-9]') }} != {{ plain }}
            and replace({{ plain }}, substr({{ plain }}, 1, 1), '') != ''
            then {{ plain }}
    end
{%- endmacro %}
