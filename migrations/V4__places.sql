-- What a turn is in its episode: body, opening, transition or closing.
alter table segments add column place text not null default 'body';
