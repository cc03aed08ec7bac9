//! Whether a document of settings is meant for the active profiles: `production`, `!test`, `a & (b | c)`, `a, b`.

/// Whether the expression holds. One that can't be read counts as one that does: what is not understood is not overlooked.
pub(super) fn holds(expression: &str, active: &[String]) -> bool {
    expression.split(',').any(|one| {
        let mut parser = Parser { rest: one.trim(), active };
        let holds = parser.either();
        match (holds, parser.rest.trim()) {
            (Some(holds), "") => holds,
            _ => true,
        }
    })
}

struct Parser<'a> {
    rest: &'a str,
    active: &'a [String],
}

impl Parser<'_> {
    fn either(&mut self) -> Option<bool> {
        let mut holds = self.both()?;
        while self.take('|') {
            holds |= self.both()?;
        }
        Some(holds)
    }

    fn both(&mut self) -> Option<bool> {
        let mut holds = self.one()?;
        while self.take('&') {
            holds &= self.one()?;
        }
        Some(holds)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take('!') {
            return self.one().map(|holds| !holds);
        }
        if self.take('(') {
            let holds = self.either()?;
            return self.take(')').then_some(holds);
        }
        self.rest = self.rest.trim_start();
        let end = self.rest.find(['|', '&', '!', '(', ')', ' ']).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!name.is_empty()).then(|| self.active.iter().any(|active| active == name))
    }

    fn take(&mut self, letter: char) -> bool {
        let rest = self.rest.trim_start().strip_prefix(letter);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_spring_reads_them() {
        let active = ["production".to_owned(), "eu".to_owned()];
        for yes in [
            "production",
            "!test",
            "test | eu",
            "production & eu",
            "test,production",
            "production & (us | eu)",
            "!(test | us)",
        ] {
            assert!(holds(yes, &active), "{yes}");
        }
        for no in ["test", "!production", "production & us", "prod", "test, us", "!(eu)"] {
            assert!(!holds(no, &active), "{no}");
        }
        assert!(holds("(production", &active) && holds("a b", &active), "what is not understood counts");
    }
}
