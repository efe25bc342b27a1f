//! Rust's sources as words, without comments, texts and tests.

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) line: usize,
    pub(super) text: String,
}

impl Token {
    pub(super) fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// Words, `::` and single characters; comments and texts are dropped.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let (mut tokens, mut i, mut line) = (Vec::new(), 0, 1);
    while i < chars.len() {
        let begin = i;
        let here = line;
        let c = chars[i];
        if c == '/' && at(i + 1) == '/' {
            while i < chars.len() && chars[i] != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            i = after_comment(&chars, i);
        } else if let Some(end) = after_text(&chars, i) {
            i = end;
        } else if c.is_alphanumeric() || c == '_' {
            while at(i).is_alphanumeric() || at(i) == '_' {
                i += 1;
            }
            tokens.push(Token { line: here, text: chars[begin..i].iter().collect() });
        } else if c == ':' && at(i + 1) == ':' {
            i += 2;
            tokens.push(Token { line: here, text: "::".to_owned() });
        } else {
            i += 1;
            if !c.is_whitespace() {
                tokens.push(Token { line: here, text: c.to_string() });
            }
        }
        line += chars[begin..i].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// Where the block comment that begins at `i` ends; they nest.
pub(super) fn after_comment(chars: &[char], mut i: usize) -> usize {
    let mut depth = 0;
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
            ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i
}

/// Where the text, raw text or character that begins at `i` ends; `None` if none begins there.
pub(super) fn after_text(chars: &[char], i: usize) -> Option<usize> {
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let quoted = |mut i: usize, quote: char| {
        while i < chars.len() && chars[i] != quote {
            i += if chars[i] == '\\' { 2 } else { 1 };
        }
        i + 1
    };
    let after_word = i > 0 && (at(i - 1).is_alphanumeric() || at(i - 1) == '_');
    match at(i) {
        '"' => Some(quoted(i + 1, '"')),
        '\'' if at(i + 1) == '\\' || at(i + 2) == '\'' => Some(quoted(i + 1, '\'')),
        'b' | 'c' if !after_word && at(i + 1) == '"' => Some(quoted(i + 2, '"')),
        'r' if !after_word => {
            let hashes = chars[i + 1..].iter().take_while(|c| **c == '#').count();
            if at(i + 1 + hashes) != '"' {
                return None;
            }
            let mut end = i + 2 + hashes;
            while end < chars.len() {
                if chars[end] == '"' && (1..=hashes).all(|n| at(end + n) == '#') {
                    return Some(end + 1 + hashes);
                }
                end += 1;
            }
            Some(end)
        }
        _ => None,
    }
}

/// The tokens without `#[cfg(test)]` items: tests may use what they like.
pub(super) fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut i) = (Vec::new(), 0);
    while i < tokens.len() {
        let is_mark = tokens.len() >= i + mark.len()
            && tokens[i..i + mark.len()].iter().zip(mark).all(|(token, text)| token.text == text);
        if !is_mark {
            kept.push(tokens[i].clone());
            i += 1;
            continue;
        }
        i += mark.len();
        let mut depth = 0;
        while i < tokens.len() {
            let text = tokens[i].text.as_str();
            i += 1;
            match text {
                "{" => depth += 1,
                "}" => depth -= 1,
                ";" if depth == 0 => break,
                _ => continue,
            }
            if depth == 0 {
                break;
            }
        }
    }
    kept
}
