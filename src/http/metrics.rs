//! Prometheus' text format, version 0.0.4: families of samples, each with its help and type.

use std::fmt::Write;

/// A family's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up while the process lives; its name ends in `_total`.
    Counter,
}

/// A page of metrics in the making.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// An empty page.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a family and adds its samples: labels and value. A family without samples is left out.
    pub fn family<'a>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, f64)>,
    ) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        // Writing to a String never fails.
        let _ = writeln!(self.text, "# HELP {name} {}", escape(help, false));
        let _ = writeln!(self.text, "# TYPE {name} {kind}");
        for (labels, value) in samples {
            let labels: Vec<String> =
                labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escape(text, true))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(self.text, "{name}{labels} {value}");
        }
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: f64) {
        self.family(name, kind, help, [(vec![], value)]);
    }

    /// The page.
    pub fn into_text(self) -> String {
        self.text
    }
}

fn escape(text: &str, quotes: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes {
        text.replace('"', "\\\"")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_in_prometheus_text_format() {
        let mut page = Page::new();
        page.single("scatter_disk_free_bytes", Kind::Gauge, "Bytes free.", 12.0);
        page.family(
            "scatter_x_total",
            Kind::Counter,
            "A \\ and\na break.",
            [(vec![("a", "q\"\\\n"), ("b", "")], 0.5)],
        );
        page.family("scatter_none", Kind::Gauge, "Nothing.", []);
        let expected = "# HELP scatter_disk_free_bytes Bytes free.\n\
            # TYPE scatter_disk_free_bytes gauge\n\
            scatter_disk_free_bytes 12\n\
            # HELP scatter_x_total A \\\\ and\\na break.\n\
            # TYPE scatter_x_total counter\n\
            scatter_x_total{a=\"q\\\"\\\\\\n\",b=\"\"} 0.5\n";
        assert_eq!(page.into_text(), expected);
    }
}
