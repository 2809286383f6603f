#include "comm/watch/watch_report.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "comm/watch/watch_state.h"

namespace moe {
namespace {

constexpr int kLost = 71;
constexpr int kDefect = 70;
// A report of a thousand ranks that all differ would hide its cause.
constexpr size_t kMaxLines = 64;

using Link = WatchedRank::Link;

std::string Seconds(absl::Duration duration) {
  return absl::StrFormat("%.1f s", absl::ToDoubleSeconds(duration));
}

// At one place of a group's sequence.
bool AreInDifferentCollectives(const RankState& a, const RankState& b) {
  return a.has_wait() && b.has_wait() &&
         a.wait().sequence() == b.wait().sequence() &&
         a.wait().signature() != b.wait().signature() &&
         a.wait().first_rank() == b.wait().first_rank() &&
         a.wait().group() == b.wait().group();
}

class Reporter {
 public:
  Reporter(const Roster& roster, const std::vector<WatchedRank>& ranks,
           absl::Duration timeout)
      : roster_(roster), ranks_(ranks), timeout_(timeout) {}

  LostRankReport Make();

 private:
  const WatchedRank& Of(int rank) const {
    return ranks_[static_cast<size_t>(rank)];
  }
  int size() const { return static_cast<int>(ranks_.size()); }
  // "rank 3 (pid 812 on host node7)"
  std::string Name(int rank) const {
    return absl::StrCat("rank ", rank, " (",
                        ToString(roster_[static_cast<size_t>(rank)]), ")");
  }
  // The first rank that fulfils `is`, -1 if none.
  template <typename Predicate>
  int Find(Predicate is) const {
    for (int rank = 0; rank < size(); ++rank)
      if (is(Of(rank))) return rank;
    return -1;
  }
  int FindAlarm(WatchAlarm::Kind kind) const {
    return Find([&](const WatchedRank& rank) {
      return rank.alarm.has_value() && rank.alarm->kind() == kind;
    });
  }

  // Each is tried in turn: the first that applies is the cause.
  bool IsCrash();
  bool IsFailure();
  bool IsLauncher();
  bool IsLoss();
  bool IsMismatch();
  bool IsSilence();
  void ExplainDelay();

  void Blame(int rank, const std::string& what, int exit_code);
  std::string LastHeard(int rank) const;
  const RankState::Process* FindProcess(int rank) const;
  bool HasWitness(int rank) const;
  int AwaitedBy(int rank) const;
  int FollowWaits(int rank) const;
  std::string RankLines() const;
  std::string StackText() const;

  const Roster& roster_;
  const std::vector<WatchedRank>& ranks_;
  const absl::Duration timeout_;
  int blamed_ = -1;
  LostRankReport report_;
};

void Reporter::Blame(int rank, const std::string& what, int exit_code) {
  blamed_ = rank;
  report_.cause = absl::StrCat(Name(rank), " ", what);
  report_.exit_code = exit_code;
}

// "0.3 s before: step 12, layer 3, dispatch"
std::string Reporter::LastHeard(int rank) const {
  const WatchedRank& of = Of(rank);
  if (!of.state.has_doing()) return "what it did is not known";
  return absl::StrCat(Seconds(of.age), " before it was in ", of.state.doing());
}

bool Reporter::IsCrash() {
  const int rank = FindAlarm(WatchAlarm::CRASHED);
  if (rank < 0) return false;
  Blame(
      rank,
      absl::StrCat("crashed: ", Of(rank).alarm->text(), "; ", LastHeard(rank)),
      kDefect);
  return true;
}

bool Reporter::IsFailure() {
  const int rank = FindAlarm(WatchAlarm::FAILED);
  if (rank < 0) return false;
  // That messages do not pass any more follows from the loss of a rank.
  const bool of_messages = Of(rank).alarm->exit_code() == kLost;
  if (of_messages &&
      Find([](const WatchedRank& of) { return of.link == Link::kLost; }) >= 0)
    return false;
  Blame(rank, absl::StrCat("cannot go on: ", Of(rank).alarm->text()),
        Of(rank).alarm->exit_code());
  return true;
}

bool Reporter::IsLauncher() {
  const int rank = FindAlarm(WatchAlarm::LAUNCHER_GONE);
  if (rank < 0) return false;
  Blame(rank, "has lost its launcher: the process that started it is gone",
        kLost);
  return true;
}

bool Reporter::IsLoss() {
  std::vector<int> lost;
  for (int rank = 0; rank < size(); ++rank)
    if (Of(rank).link == Link::kLost) lost.push_back(rank);
  if (lost.empty()) return false;
  Blame(lost[0],
        absl::StrCat("was lost: its process or host is gone without a word; ",
                     LastHeard(lost[0])),
        kLost);
  if (lost.size() > 1) {
    lost.erase(lost.begin());
    absl::StrAppend(&report_.cause, "; so were ranks ",
                    absl::StrJoin(lost, ", "));
  }
  return true;
}

bool Reporter::IsMismatch() {
  int rank = 0;
  for (int other = 1; other < size(); ++other) {
    if (NumDifferent(ranks_, Of(other).state) >
        NumDifferent(ranks_, Of(rank).state))
      rank = other;
  }
  if (NumDifferent(ranks_, Of(rank).state) == 0) return false;
  const int other = Find([&](const WatchedRank& of) {
    return AreInDifferentCollectives(of.state, Of(rank).state);
  });
  Blame(rank,
        absl::StrCat("is in another collective than the others of its group: "
                     "it is in ",
                     Of(rank).state.place(), ", rank ", other, " in ",
                     Of(other).state.place()),
        kDefect);
  return true;
}

// What ranks beside it have seen of one that does not just run or sleep; null
// if nothing.
const RankState::Process* Reporter::FindProcess(int rank) const {
  for (const WatchedRank& other : ranks_) {
    for (const RankState::Process& process : other.state.process())
      if (process.rank() == rank) return &process;
  }
  return nullptr;
}

// Whether a rank that sees this one's process has answered, and so has looked.
bool Reporter::HasWitness(int rank) const {
  for (int other = 0; other < size(); ++other) {
    if (other != rank && Of(other).answered &&
        ShareProcesses(roster_[static_cast<size_t>(other)],
                       roster_[static_cast<size_t>(rank)]))
      return true;
  }
  return false;
}

// A rank of which a rank beside it knows that its process runs is just late.
bool Reporter::IsSilence() {
  int rank = -1;
  bool is_strange = false;
  for (int other = 0; other < size() && !is_strange; ++other) {
    const bool is_awaited =
        Of(other).link == Link::kOpen || Of(other).link == Link::kNone;
    if (!is_awaited || Of(other).answered) continue;
    is_strange = FindProcess(other) != nullptr;
    if (is_strange || (rank < 0 && !HasWitness(other))) rank = other;
  }
  if (rank < 0) return false;
  const RankState::Process* process = FindProcess(rank);
  Blame(rank,
        absl::StrCat(Of(rank).link == Link::kNone
                         ? "does not come to the start of the job: "
                         : "does not answer: ",
                     process == nullptr
                         ? "nothing is known of its process or host"
                         : DescribeProcess(process->state()),
                     "; ", LastHeard(rank)),
        kLost);
  return true;
}

// A rank that does not wait where `rank` does: of those that it waits for, if
// they are known, else of all, and rather one that does not wait at all. Itself
// if there is none.
int Reporter::AwaitedBy(int rank) const {
  const WatchWait& wait = Of(rank).state.wait();
  std::vector<int> candidates(wait.missing().begin(), wait.missing().end());
  if (candidates.empty()) {  // a barrier
    candidates.resize(ranks_.size());
    std::iota(candidates.begin(), candidates.end(), 0);
  }
  int elsewhere = wait.missing_size() > 0 ? candidates[0] : rank;
  for (int candidate : candidates) {
    const RankState& other = Of(candidate).state;
    if (!other.has_wait()) return candidate;
    if (other.wait().group() != wait.group() ||
        other.wait().sequence() != wait.sequence())
      elsewhere = candidate;
  }
  return elsewhere;
}

// From a rank that waits to one that it waits for, and on: the last one is
// either doing something else or part of a circle.
int Reporter::FollowWaits(int rank) const {
  std::set<int> seen;
  while (Of(rank).state.has_wait() && seen.insert(rank).second)
    rank = AwaitedBy(rank);
  return rank;
}

void Reporter::ExplainDelay() {
  const int waiting = std::max(0, FindAlarm(WatchAlarm::TIME_LIMIT));
  const int rank = FollowWaits(waiting);
  const RankState& state = Of(rank).state;
  const std::string limit = absl::StrCat(
      "; rank ", waiting,
      " has waited longer than parallel.collective_timeout_seconds (",
      absl::ToInt64Seconds(timeout_), ")");
  if (Of(rank).link == Link::kNone) {
    Blame(rank, absl::StrCat("does not come to the start of the job", limit),
          kLost);
    return;
  }
  if (state.has_wait()) {
    Blame(
        rank,
        absl::StrCat("waits in ", state.doing(), ", which does not end", limit),
        kLost);
    return;
  }
  Blame(rank,
        absl::StrCat("keeps the others waiting: it has been in ", state.place(),
                     " for ", Seconds(absl::Seconds(state.still_seconds())),
                     limit),
        kLost);
}

std::string Ranges(const std::vector<int>& ranks) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < ranks.size();) {
    size_t end = begin + 1;
    while (end < ranks.size() && ranks[end] == ranks[end - 1] + 1) ++end;
    parts.push_back(end - begin == 1
                        ? absl::StrCat(ranks[begin])
                        : absl::StrCat(ranks[begin], "-", ranks[end - 1]));
    begin = end;
  }
  return absl::StrJoin(parts, ",");
}

std::string Reporter::RankLines() const {
  std::vector<std::string> texts;
  for (int rank = 0; rank < size(); ++rank) {
    const WatchedRank& of = Of(rank);
    std::string text = "no word from it";
    if (of.link == Link::kLost) text = "lost";
    if (of.link == Link::kLeft) text = "has left in good order";
    if (of.link == Link::kOpen) {
      text = of.state.has_doing() ? of.state.doing() : "not known";
      if (!of.answered) absl::StrAppend(&text, "; does not answer");
    }
    texts.push_back(std::move(text));
  }
  return LinesByRank(texts);
}

std::string Reporter::StackText() const {
  const WatchedRank& of = Of(blamed_);
  const auto& stack =
      of.alarm.has_value() && of.alarm->kind() == WatchAlarm::CRASHED
          ? of.alarm->stack()
          : of.state.stack();
  if (stack.empty()) return "";
  std::string text = absl::StrCat("the stack of rank ", blamed_, ":\n");
  for (const std::string& frame : stack)
    absl::StrAppend(&text, "    ", frame, "\n");
  return text;
}

LostRankReport Reporter::Make() {
  if (!IsCrash() && !IsLauncher() && !IsFailure() && !IsLoss() &&
      !IsMismatch() && !IsSilence())
    ExplainDelay();
  report_.text = absl::StrCat(report_.cause, "\nwhat each rank was doing:\n",
                              RankLines(), StackText());
  return std::move(report_);
}

}  // namespace

std::string LinesByRank(const std::vector<std::string>& texts) {
  std::vector<std::pair<std::string, std::vector<int>>> lines;
  std::map<std::string, size_t> places;
  for (size_t rank = 0; rank < texts.size(); ++rank) {
    const auto [at, added] = places.try_emplace(texts[rank], lines.size());
    if (added) lines.emplace_back(texts[rank], std::vector<int>());
    lines[at->second].second.push_back(static_cast<int>(rank));
  }
  std::string all;
  for (size_t i = 0; i < std::min(lines.size(), kMaxLines); ++i) {
    absl::StrAppend(&all, "  rank ", Ranges(lines[i].second), ": ",
                    lines[i].first, "\n");
  }
  if (lines.size() > kMaxLines)
    absl::StrAppend(&all, "  and ", lines.size() - kMaxLines, " lines more\n");
  return all;
}

int NumDifferent(const std::vector<WatchedRank>& ranks,
                 const RankState& state) {
  return static_cast<int>(
      std::count_if(ranks.begin(), ranks.end(), [&](const WatchedRank& other) {
        return AreInDifferentCollectives(other.state, state);
      }));
}

LostRankReport MakeLostRankReport(const Roster& roster,
                                  const std::vector<WatchedRank>& ranks,
                                  absl::Duration collective_timeout) {
  return Reporter(roster, ranks, collective_timeout).Make();
}

}  // namespace moe
