//! Reads nginx's configuration as `nginx -T` prints it: small, tolerant, and only for what `theirs` has to know. nginx itself has accepted the text
//! before, so nothing in here complains.

use std::path::{Path, PathBuf};

/// A directive and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// Its name and arguments, without quotes. The name of a directive is never missing.
    pub words: Vec<String>,
    /// The file that it stands in.
    pub file: PathBuf,
    /// The line of its name, counted from 1.
    pub line: u32,
    /// What stands in its braces.
    pub block: Option<Vec<Directive>>,
}

impl Directive {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Its arguments.
    #[must_use]
    pub fn args(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }
}

/// What `nginx -T` printed: each file once, the main one first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    files: Vec<(PathBuf, String)>,
}

impl Dump {
    /// Takes the output of `nginx -T` apart.
    #[must_use]
    pub fn read(text: &str) -> Dump {
        let mut files: Vec<(PathBuf, String)> = Vec::new();
        for line in text.split_inclusive('\n') {
            let head = line.strip_prefix("# configuration file ").map(str::trim_end);
            if let Some(name) = head.and_then(|name| name.strip_suffix(':')) {
                files.push((PathBuf::from(name), String::new()));
            } else if let Some((_, text)) = files.last_mut() {
                text.push_str(line);
            }
        }
        Dump { files }
    }

    /// Whether nginx reads this file.
    #[must_use]
    pub fn reads(&self, file: &Path) -> bool {
        self.files.iter().any(|(name, _)| same_path(name, file))
    }

    /// The whole configuration, with what is included in its place.
    #[must_use]
    pub fn directives(&self) -> Vec<Directive> {
        match self.files.first() {
            Some((name, text)) => self.expand(parse(name, text), 0),
            None => Vec::new(),
        }
    }

    fn expand(&self, directives: Vec<Directive>, depth: u32) -> Vec<Directive> {
        let mut out = Vec::new();
        for mut directive in directives {
            // nginx has no such limit, but it has accepted the text: only a dump that was read wrongly goes deeper.
            if directive.name() == "include" && directive.block.is_none() && depth < 32 {
                for pattern in directive.args() {
                    for (name, text) in self.included(pattern) {
                        out.extend(self.expand(parse(name, text), depth + 1));
                    }
                }
                continue;
            }
            directive.block = directive.block.map(|block| self.expand(block, depth));
            out.push(directive);
        }
        out
    }

    fn included(&self, pattern: &str) -> impl Iterator<Item = (&PathBuf, &String)> {
        // Relative to the folder of the main file, wherever the include stands.
        let base = self.files.first().and_then(|(main, _)| main.parent()).unwrap_or(Path::new("/"));
        let pattern = base.join(pattern);
        self.files.iter().filter(move |(name, _)| glob(&pattern, name)).map(|(name, text)| (name, text))
    }
}

/// Takes the text of one file apart.
#[must_use]
pub fn parse(file: &Path, text: &str) -> Vec<Directive> {
    let mut reader = Reader { file, rest: text.chars().peekable(), line: 1 };
    reader.block(0)
}

struct Reader<'a> {
    file: &'a Path,
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: u32,
}

enum Token {
    Word(String),
    Semicolon,
    Open,
    Close,
    End,
}

impl Reader<'_> {
    fn block(&mut self, depth: u32) -> Vec<Directive> {
        let mut out = Vec::new();
        let mut words = Vec::new();
        let mut line = self.line;
        loop {
            match self.token() {
                Token::Word(word) => {
                    if words.is_empty() {
                        line = self.line;
                    }
                    words.push(word);
                }
                Token::Semicolon => self.finish(&mut out, &mut words, line, None),
                Token::Open => {
                    let foreign = words.first().is_some_and(|name: &String| name.ends_with("_by_lua_block"));
                    let inner = if foreign {
                        self.skip_lua();
                        Vec::new()
                    } else if depth < 64 {
                        self.block(depth + 1)
                    } else {
                        Vec::new()
                    };
                    self.finish(&mut out, &mut words, line, Some(inner));
                }
                Token::Close | Token::End => return out,
            }
        }
    }

    fn finish(&self, out: &mut Vec<Directive>, words: &mut Vec<String>, line: u32, block: Option<Vec<Directive>>) {
        let words = std::mem::take(words);
        if !words.is_empty() {
            out.push(Directive { words, file: self.file.to_owned(), line, block });
        }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.next();
        if c == Some('\n') {
            self.line += 1;
        }
        c
    }

    fn token(&mut self) -> Token {
        loop {
            match self.next() {
                None => return Token::End,
                Some(c) if c.is_ascii_whitespace() => {}
                Some('#') => while !matches!(self.next(), None | Some('\n')) {},
                Some(';') => return Token::Semicolon,
                Some('{') => return Token::Open,
                Some('}') => return Token::Close,
                Some(quote @ ('"' | '\'')) => return Token::Word(self.quoted(quote)),
                Some(first) => return Token::Word(self.bare(first)),
            }
        }
    }

    fn quoted(&mut self, quote: char) -> String {
        let mut word = String::new();
        while let Some(c) = self.next() {
            match c {
                c if c == quote => break,
                '\\' => self.escaped(&mut word),
                c => word.push(c),
            }
        }
        word
    }

    fn bare(&mut self, first: char) -> String {
        let mut word = String::new();
        let mut c = first;
        loop {
            let variable = c == '$' && self.rest.peek() == Some(&'{');
            if c == '\\' {
                self.escaped(&mut word);
            } else {
                word.push(c);
            }
            if variable {
                // `${name}`: the braces belong to the word.
                self.next();
                word.push('{');
            }
            match self.rest.peek() {
                None | Some(';' | '{') => return word,
                Some(end) if end.is_ascii_whitespace() => return word,
                Some(_) => {}
            }
            match self.next() {
                Some(following) => c = following,
                None => return word,
            }
        }
    }

    fn escaped(&mut self, word: &mut String) {
        match self.next() {
            Some(c @ ('"' | '\'' | '\\')) => word.push(c),
            Some('t') => word.push('\t'),
            Some('r') => word.push('\r'),
            Some('n') => word.push('\n'),
            Some(c) => word.extend(['\\', c]),
            None => word.push('\\'),
        }
    }

    /// Another language: only its end is looked for.
    fn skip_lua(&mut self) {
        let mut depth = 1;
        while let Some(c) = self.next() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                quote @ ('"' | '\'') => {
                    let _ = self.quoted(quote);
                }
                '-' if self.rest.peek() == Some(&'-') => while !matches!(self.next(), None | Some('\n')) {},
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }
}

fn same_path(a: &Path, b: &Path) -> bool {
    // By parts, so that a doubled slash is no difference.
    a.components().eq(b.components())
}

fn glob(pattern: &Path, name: &Path) -> bool {
    let mut parts = pattern.components();
    let mut names = name.components();
    loop {
        match (parts.next(), names.next()) {
            (None, None) => return true,
            (Some(part), Some(name)) => {
                let (part, name) = (part.as_os_str().to_string_lossy(), name.as_os_str().to_string_lossy());
                let hidden = name.starts_with('.') && !part.starts_with('.');
                if hidden || !glob_part(part.as_bytes(), name.as_bytes()) {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

fn glob_part(pattern: &[u8], name: &[u8]) -> bool {
    match pattern {
        [] => name.is_empty(),
        [b'*', rest @ ..] => (0..=name.len()).any(|n| name.get(n..).is_some_and(|tail| glob_part(rest, tail))),
        [b'?', rest @ ..] => name.split_first().is_some_and(|(_, tail)| glob_part(rest, tail)),
        [b'[', rest @ ..] => match class(rest, name.first().copied()) {
            Some((rest, true)) => name.get(1..).is_some_and(|tail| glob_part(rest, tail)),
            Some((_, false)) => false,
            None => name.strip_prefix(b"[").is_some_and(|tail| glob_part(rest, tail)),
        },
        [first, rest @ ..] => name.split_first().is_some_and(|(c, tail)| c == first && glob_part(rest, tail)),
    }
}

/// A `[…]` without its first bracket: what follows it, and whether it holds `c`. `None`: it has no end, so it was none.
fn class(pattern: &[u8], c: Option<u8>) -> Option<(&[u8], bool)> {
    let (negated, members) = match pattern {
        [b'!' | b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    // A bracket in the first place is a member.
    let end = 1 + members.get(1..)?.iter().position(|b| *b == b']')?;
    let (set, rest) = (members.get(..end)?, members.get(end + 1..)?);
    let c = c?;
    let mut found = false;
    let mut at = 0;
    while let Some(low) = set.get(at) {
        match (set.get(at + 1), set.get(at + 2)) {
            (Some(b'-'), Some(high)) => {
                found |= (*low..=*high).contains(&c);
                at += 3;
            }
            _ => {
                found |= *low == c;
                at += 1;
            }
        }
    }
    Some((rest, found != negated))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        parse(Path::new("/x"), text).into_iter().map(|d| d.words).collect()
    }

    #[test]
    fn quotes_comments_and_variables_are_read_as_nginx_reads_them() {
        assert_eq!(
            words("a 'b;c' \"d}e\" f\\;g; # h; {\ni \"#j\" k#l ${m}n;\n\"o\\\"p\" ~* \\.php$;"),
            [vec!["a", "b;c", "d}e", "f\\;g"], vec!["i", "#j", "k#l", "${m}n"], vec!["o\"p", "~*", "\\.php$"],]
        );
    }

    #[test]
    fn blocks_nest_and_every_directive_knows_its_line() {
        let read = parse(Path::new("/x"), "http {\n  server {\n    listen 80;\n  }\n}\nuser\n  www;");
        assert_eq!((read[0].name(), read[0].line), ("http", 1));
        let server = &read[0].block.as_ref().unwrap()[0];
        let listen = &server.block.as_ref().unwrap()[0];
        assert_eq!((listen.name(), listen.args(), listen.line), ("listen", &["80".to_owned()][..], 3));
        assert_eq!((read[1].name(), read[1].line), ("user", 6));
    }

    #[test]
    fn lua_is_stepped_over() {
        let read = words("content_by_lua_block { if a then b = \"}\" -- }\n c = { 1 } end } server_name x;");
        assert_eq!(read, [vec!["content_by_lua_block"], vec!["server_name", "x"]]);
    }

    #[test]
    fn text_that_ends_too_early_is_read_as_far_as_it_goes() {
        for text in ["a {", "a 'b", "a \\", "a ${", "}", "{", "a_by_lua_block {", ";;", "a [", "a \"\\"] {
            let _ = words(text);
        }
    }

    #[test]
    fn included_files_stand_where_their_include_stands() {
        let dump = Dump::read(
            "# configuration file /etc/nginx/nginx.conf:\nhttp {\n include conf.d/*.conf;\n include /etc/nginx/s/[a-c]?;\n}\n\n\
             # configuration file /etc/nginx/conf.d/x.conf:\nserver { include snip/y; }\n\n\
             # configuration file /etc/nginx/snip/y:\nlisten 80;\n\n\
             # configuration file /etc/nginx/s/b1:\nmap a b {}\n",
        );
        let read = dump.directives();
        let http = read[0].block.as_ref().unwrap();
        assert_eq!(http.iter().map(Directive::name).collect::<Vec<_>>(), ["server", "map"]);
        let listen = &http[0].block.as_ref().unwrap()[0];
        assert_eq!((listen.file.to_str().unwrap(), listen.line), ("/etc/nginx/snip/y", 1));
        assert!(dump.reads(Path::new("/etc/nginx/conf.d//x.conf")));
        assert!(!dump.reads(Path::new("/etc/nginx/conf.d/z.conf")));
    }

    #[test]
    fn patterns_match_as_glob_does() {
        for (pattern, name, matches) in [
            ("/a/*.conf", "/a/b.conf", true),
            ("/a/*.conf", "/a/.b.conf", false),
            ("/a/*", "/a/b/c", false),
            ("/a/[!b]", "/a/b", false),
            ("/a/[!b]", "/a/c", true),
            ("/a/x[.]conf", "/a/x.conf", true),
            ("/a/[b", "/a/[b", true),
            ("/a/b", "/a//b", true),
        ] {
            assert_eq!(glob(Path::new(pattern), Path::new(name)), matches, "{pattern} {name}");
        }
    }
}
