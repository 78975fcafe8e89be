//! Carries a plan out: rounds over the targets in turn, and what each of them showed.
//! Absent on purpose: comparing. The driver script makes the table.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use thiserror::Error;
use tokio::task::JoinSet;

use crate::appends::{self, Appends};
use crate::connection::{self, PrepareError, Prepared, Tally, Window};
use crate::limits;
use crate::plan::{Plan, PlanError};
use crate::process::{self, Memory};

/// All results of a plan.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// For each target, in the plan's order, its rounds.
    pub targets: Vec<TargetReport>,
    /// For each round, the disk's limit.
    pub appends: Vec<Appends>,
}

/// One target's results.
#[derive(Debug, Serialize)]
pub struct TargetReport {
    /// Name from the plan.
    pub name: String,
    /// In order of time.
    pub rounds: Vec<Round>,
}

/// One measurement.
#[derive(Debug, Serialize)]
pub struct Round {
    /// Expected answers within the window.
    pub answers: u64,
    /// Requests that went wrong, warm-up included.
    pub failures: u64,
    /// What the first of them was.
    pub first_failure: Option<String>,
    /// Length of the window.
    pub seconds: f64,
    /// Answers a second.
    pub per_second: f64,
    /// Median time.
    pub p50_us: f64,
    /// 99 of 100 answers came within.
    pub p99_us: f64,
    /// Longest time.
    pub max_us: f64,
    /// CPU seconds of the server for 1,000 answers.
    pub cpu_seconds_per_1000: Option<f64>,
    /// Memory of the server at the end.
    pub memory: Option<Memory>,
}

/// Why a plan was not carried out.
#[derive(Debug, Error)]
pub enum DriveError {
    /// Refused before the first request.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A target that cannot be asked.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The disk, a process that is gone, no threads left.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A generator thread ended early.
    #[error("a generator thread failed")]
    Thread,
    /// The server did not answer in time after the measurement's end.
    #[error("{0} did not answer for {grace} s", grace = limits::GRACE.as_secs())]
    Stuck(String),
}

/// Checks and carries out a plan.
pub fn drive(plan: &Plan) -> Result<Report, DriveError> {
    plan.check()?;
    let prepared =
        plan.targets.iter().map(|target| Prepared::new(target, plan.requests).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
    let mut report = Report::default();
    report.targets.extend(plan.targets.iter().map(|target| TargetReport { name: target.name.clone(), rounds: Vec::new() }));
    for number in 0..plan.rounds {
        let mut turn: Vec<_> = plan.targets.iter().zip(&prepared).zip(&mut report.targets).collect();
        // Each round begins with another target: what the machine does at a round's start hits all of them.
        let turned = usize::try_from(number).unwrap_or_default() % turn.len().max(1);
        turn.rotate_left(turned);
        for ((target, prepared), results) in turn {
            results.rounds.push(measure(plan, &target.name, target.pid, prepared)?);
        }
        if let Some(directory) = &plan.append_directory {
            report.appends.push(appends::measure(directory, Duration::from_millis(plan.measure_ms.max(1)))?);
        }
    }
    Ok(report)
}

fn measure(plan: &Plan, name: &str, pid: Option<u32>, prepared: &Arc<Prepared>) -> Result<Round, DriveError> {
    let from = Instant::now() + Duration::from_millis(plan.warm_up_ms);
    let length = plan.requests.map_or(Duration::from_millis(plan.measure_ms), |_| limits::COUNTED_MAX);
    let window = Window { from, until: from + length, pause: Duration::from_micros(plan.pause_micros) };
    let (tally, cpu, end) = thread::scope(|scope| -> Result<_, DriveError> {
        let threads: Vec<_> = shares(plan.connections, plan.threads)
            .map(|connections| scope.spawn(move || generate(prepared, window, connections)))
            .collect();
        sleep_until(window.from);
        let before = pid.map(process::cpu_seconds).transpose()?;
        if plan.requests.is_none() {
            sleep_until(window.until);
        }
        // In a timed run the CPU is read at the window's end, in a counted one when all has been answered.
        let at_end = pid.filter(|_| plan.requests.is_none()).map(process::cpu_seconds).transpose()?;
        let mut tally = Tally::default();
        for thread in threads {
            let part = thread.join().map_err(|_| DriveError::Thread)??;
            tally.merge(part.ok_or_else(|| DriveError::Stuck(name.to_owned()))?);
        }
        let after = match at_end {
            Some(cpu) => Some(cpu),
            None => pid.map(process::cpu_seconds).transpose()?,
        };
        let end = if plan.requests.is_some() { tally.last.unwrap_or(window.until) } else { window.until };
        Ok((tally, before.zip(after).map(|(before, after)| after - before), end))
    })?;
    let memory = pid.map(process::memory).transpose()?;
    Ok(round(tally, end.saturating_duration_since(from), cpu, memory))
}

/// One thread's connections; `None` when an answer is overdue.
fn generate(prepared: &Arc<Prepared>, window: Window, connections: usize) -> Result<Option<Tally>, DriveError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let whole = window.until.saturating_duration_since(Instant::now()) + limits::GRACE;
    runtime.block_on(async {
        let mut running = JoinSet::new();
        for _ in 0..connections {
            let prepared = Arc::clone(prepared);
            running.spawn(async move { connection::run(&prepared, window).await });
        }
        let all = async {
            let mut tally = Tally::default();
            while let Some(part) = running.join_next().await {
                tally.merge(part.map_err(|_| DriveError::Thread)?);
            }
            Ok(tally)
        };
        tokio::time::timeout(whole, all).await.ok().transpose()
    })
}

fn round(tally: Tally, length: Duration, cpu_seconds: Option<f64>, memory: Option<Memory>) -> Round {
    let answers = tally.times.total();
    let (seconds, count) = (length.as_secs_f64(), as_float(answers));
    Round {
        answers,
        failures: tally.failures,
        first_failure: tally.first_failure,
        seconds,
        per_second: if seconds > 0.0 { count / seconds } else { 0.0 },
        p50_us: tally.times.quantile_us(500),
        p99_us: tally.times.quantile_us(990),
        max_us: tally.times.longest_us(),
        cpu_seconds_per_1000: cpu_seconds.filter(|_| answers > 0).map(|cpu| cpu * 1_000.0 / count),
        memory,
    }
}

/// Deals the connections out as evenly as they go.
fn shares(connections: usize, threads: usize) -> impl Iterator<Item = usize> {
    let threads = threads.clamp(1, connections.max(1));
    (0..threads).map(move |thread| connections / threads + usize::from(thread < connections % threads))
}

fn sleep_until(when: Instant) {
    thread::sleep(when.saturating_duration_since(Instant::now()));
}

#[expect(clippy::cast_precision_loss, reason = "limits keep the count below a million a run, far under 2^53")]
fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_dealt_out_without_loss() {
        for (connections, threads, expected) in
            [(1, 1, vec![1]), (32, 2, vec![16, 16]), (5, 2, vec![3, 2]), (2, 4, vec![1, 1]), (7, 3, vec![3, 2, 2])]
        {
            assert_eq!(shares(connections, threads).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_round_without_answers_has_no_figures_that_divide_by_zero() {
        let empty = round(Tally::default(), Duration::ZERO, Some(1.0), None);
        assert_eq!((empty.answers, empty.cpu_seconds_per_1000), (0, None));
        assert!(empty.per_second.abs() < f64::EPSILON);
    }
}
