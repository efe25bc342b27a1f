//! Answers of the Prometheus HTTP API, read strictly: what is not exactly an answer to the question is
//! a reason.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::core::counter::Sample;
use crate::core::metric::NoData;
use crate::core::time::Timestamp;

/// A series of a range selector.
#[derive(Clone, Debug, PartialEq)]
pub struct RawSeries {
    /// Metric name.
    pub name: String,
    /// The other labels.
    pub labels: BTreeMap<String, String>,
    /// In the order of the answer.
    pub samples: Vec<Sample>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    status: String,
    data: Option<Data>,
    error_type: Option<String>,
    error: Option<String>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
    /// VictoriaMetrics' way to say that some of its parts did not answer.
    #[serde(default)]
    is_partial: bool,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Matrix(Vec<MatrixSeries>),
    Vector(Vec<VectorSeries>),
    Scalar(RawSample),
    String(IgnoredAny),
}

#[derive(Deserialize)]
struct MatrixSeries {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<RawSample>,
    histograms: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct VectorSeries {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    value: Option<RawSample>,
}

#[derive(Deserialize)]
struct RawSample(f64, String);

/// Reads the answer to a range selector.
///
/// # Errors
/// The reason why it is none.
pub fn matrix(body: &[u8], max_samples: usize) -> Result<Vec<RawSeries>, NoData> {
    let Data::Matrix(series) = checked(body)? else {
        return Err(NoData::WrongType("raw samples (a matrix) were asked for".into()));
    };
    let count: usize = series.iter().map(|one| one.values.len()).sum();
    if count > max_samples {
        return Err(NoData::TooLarge(format!("{count} samples; at most {max_samples} are read at once")));
    }
    series.into_iter().map(raw_series).collect()
}

/// A series' labels, and its value.
pub type Labelled = (BTreeMap<String, String>, f64);

/// Reads the answer to a query that gives a number for each of several series: their labels, and the numbers.
///
/// # Errors
/// The reason why it is none.
pub fn vector(body: &[u8], max_series: usize) -> Result<Vec<Labelled>, NoData> {
    let Data::Vector(series) = checked(body)? else {
        return Err(NoData::WrongType("a number for each series (a vector) was asked for".into()));
    };
    if series.len() > max_series {
        return Err(NoData::TooLarge(format!(
            "{} series; at most {max_series} are read at once",
            series.len()
        )));
    }
    let numbers = series.into_iter().filter_map(|one| Some((one.metric, one.value?)));
    numbers.map(|(labels, sample)| Ok((labels, parse_sample(&sample)?.value))).collect()
}

/// Reads the answer to a query that must give one number.
///
/// # Errors
/// The reason why it is none.
pub fn number(body: &[u8]) -> Result<Sample, NoData> {
    let sample = match checked(body)? {
        Data::Scalar(sample) => sample,
        Data::Vector(mut series) => match (series.pop(), series.len()) {
            (None, _) => return Err(NoData::Empty),
            (Some(VectorSeries { value: Some(sample), .. }), 0) => sample,
            (Some(VectorSeries { value: None, .. }), 0) => {
                return Err(NoData::WrongType("the query gives a native histogram, not a number".into()));
            }
            (Some(_), others) => return Err(NoData::ManySeries(others + 1)),
        },
        Data::Matrix(_) => return Err(NoData::WrongType("the query gives a range, not one number".into())),
        Data::String(_) => return Err(NoData::WrongType("the query gives a text, not a number".into())),
    };
    let sample = parse_sample(&sample)?;
    if sample.value.is_finite() { Ok(sample) } else { Err(NoData::NotFinite) }
}

/// What an answer with an error status says.
pub fn refusal(status: u16, body: &[u8]) -> NoData {
    let said = serde_json::from_slice::<Envelope>(body).ok();
    match said {
        Some(Envelope { error_type: Some(kind), .. }) if kind == "timeout" => NoData::Timeout,
        // VictoriaMetrics gives the status again as the type.
        Some(Envelope { error_type: Some(kind), error: Some(text), .. })
            if ["bad_data", "execution", "400", "422"].contains(&kind.as_str()) =>
        {
            NoData::Refused(text)
        }
        _ => NoData::Status(status),
    }
}

fn checked(body: &[u8]) -> Result<Data, NoData> {
    let envelope: Envelope =
        serde_json::from_slice(body).map_err(|error| NoData::Malformed(error.to_string()))?;
    if envelope.status != "success" {
        let text = envelope.error.unwrap_or_else(|| format!("its status is {:?}", envelope.status));
        return Err(NoData::Refused(text));
    }
    if let Some(warnings) = envelope.warnings.filter(|warnings| !warnings.is_empty()) {
        return Err(NoData::Partial(warnings.join("; ")));
    }
    if envelope.is_partial {
        return Err(NoData::Partial("it has the mark `isPartial`".into()));
    }
    envelope.data.ok_or_else(|| NoData::Malformed("it has no data".into()))
}

fn raw_series(series: MatrixSeries) -> Result<RawSeries, NoData> {
    let mut labels = series.metric;
    let name = labels.remove("__name__").unwrap_or_default();
    if series.histograms.is_some() {
        return Err(NoData::WrongType(format!(
            "{name} is a native histogram; classic histograms with `le` buckets are needed"
        )));
    }
    let mut samples = series.values.iter().map(parse_sample).collect::<Result<Vec<Sample>, _>>()?;
    // VictoriaMetrics shows the marks of series that have vanished, which Prometheus leaves out.
    samples.retain(|sample| !sample.value.is_nan());
    Ok(RawSeries { name, labels, samples })
}

fn parse_sample(RawSample(at, value): &RawSample) -> Result<Sample, NoData> {
    let value = value
        .parse()
        .map_err(|_| NoData::Malformed(format!("the sample value {value:?} is not a number")))?;
    // JSON numbers are finite; the cast saturates far outside of any date.
    Ok(Sample { at: Timestamp((at * 1000.0).round() as i64), value })
}
