#include "trainer/step/optimizer.h"

#include <algorithm>
#include <utility>

#include "comm/base/check.h"
#include "comm/base/status_macros.h"
#include "trainer/checkpoint/format/state_piece.h"
#include "trainer/step/read_element.h"

namespace moe {
namespace {

// The most that is on its way from the host to the device at once: 1 MiB.
constexpr int64_t kPieceElements = int64_t{1} << 18;

absl::StatusOr<Buffer> AllocateState(DeviceContext& context, int64_t elements) {
  absl::StatusOr<Buffer> buffer =
      context.Allocate(elements * SizeOf(DType::kFloat32));
  if (!buffer.ok())
    return Annotate(buffer.status(), "memory for the optimizer's state");
  return buffer;
}

}  // namespace

double ClipScale(double grad_norm, double limit) {
  return limit > 0 ? std::min(1.0, limit / (grad_norm + 1e-6)) : 1.0;
}

absl::StatusOr<std::unique_ptr<ShardedAdamW>> ShardedAdamW::Create(
    const OptimizerConfig& config, const ParameterTable& table,
    const ProcessGroups& groups, const ShardMaps& shards,
    const ParameterStorage& weights, Kernels& kernels) {
  std::unique_ptr<ShardedAdamW> optimizer(
      new ShardedAdamW(config, table, groups, shards, weights, kernels));
  int64_t num_segments = 0;
  for (ArenaKind kind : kTrainedArenaKinds) {
    ArenaShard& arena = optimizer->arenas_[Index(kind)];
    const ShardMap& map = optimizer->Map(kind);
    const int64_t size = map.shard_size();
    ASSIGN_OR_RETURN(arena.moments_memory,
                     AllocateState(kernels.context(), 2 * size));
    const Tensor moments(arena.moments_memory.data(), {2 * size},
                         DType::kFloat32);
    arena.first_moment = moments.Rows(0, size);
    arena.second_moment = moments.Rows(size, size);
    if (table.ArenaDType(kind) != DType::kFloat32) {
      ASSIGN_OR_RETURN(arena.master_memory,
                       AllocateState(kernels.context(), size));
    }
    arena.segments =
        SegmentsOfOwner(table, kind, map, optimizer->Group(kind).rank());
    num_segments += static_cast<int64_t>(arena.segments.size());
  }
  ASSIGN_OR_RETURN(optimizer->squares_memory_,
                   kernels.context().AllocateUninitialised(
                       num_segments * SizeOf(DType::kFloat64)));
  optimizer->squares_ = Tensor(optimizer->squares_memory_.data(),
                               {num_segments}, DType::kFloat64);
  return optimizer;
}

ShardedAdamW::ShardedAdamW(const OptimizerConfig& config,
                           const ParameterTable& table,
                           const ProcessGroups& groups, const ShardMaps& shards,
                           const ParameterStorage& weights, Kernels& kernels)
    : config_(config),
      table_(table),
      groups_(groups),
      shards_(shards),
      weights_(weights),
      kernels_(kernels) {}

ProcessGroup& ShardedAdamW::Group(ArenaKind kind) const {
  return groups_[ReductionAxis(kind)];
}

const ShardMap& ShardedAdamW::Map(ArenaKind kind) const {
  return shards_[Index(kind)];
}

Tensor ShardedAdamW::Master(ArenaKind kind, int64_t arena_begin,
                            int64_t shard_begin, int64_t count) const {
  if (table_.ArenaDType(kind) == DType::kFloat32)
    return weights_.arena(kind).Rows(arena_begin, count);
  return Tensor(arenas_[Index(kind)].master_memory.data(),
                {Map(kind).shard_size()}, DType::kFloat32)
      .Rows(shard_begin, count);
}

absl::Status ShardedAdamW::Initialize(Fill fill) {
  absl::Status filled;
  std::vector<float> piece;
  for (ArenaKind kind : kTrainedArenaKinds) {
    for (const ShardSegment& segment : arenas_[Index(kind)].segments)
      filled.Update(FillSegment(kind, segment, piece, fill));
  }
  filled.Update(FillFrozen(piece, fill));
  RETURN_IF_ERROR(AgreeOnStatus(filled, groups_.world()));
  for (ArenaKind kind : kTrainedArenaKinds) RETURN_IF_ERROR(GatherCopies(kind));
  while (!works_.empty()) RETURN_IF_ERROR(WaitForOldestCopy());
  return kernels_.status();
}

absl::Status ShardedAdamW::FillSegment(ArenaKind kind,
                                       const ShardSegment& segment,
                                       std::vector<float>& piece, Fill fill) {
  const Tensor master =
      Master(kind, segment.arena_begin, segment.shard_begin, segment.count);
  for (int64_t begin = 0; begin < segment.count; begin += kPieceElements) {
    const int64_t count = std::min(kPieceElements, segment.count - begin);
    piece.resize(static_cast<size_t>(count));
    RETURN_IF_ERROR(
        fill(kind, segment.arena_begin + begin, absl::MakeSpan(piece)));
    kernels_.context().Upload(master.Rows(begin, count).raw(), piece.data(),
                              count * SizeOf(DType::kFloat32));
  }
  const Tensor copy =
      weights_.arena(kind).Rows(segment.arena_begin, segment.count);
  if (copy.raw() != master.raw()) kernels_.Convert(copy, master);
  return absl::OkStatus();
}

// Nobody owns frozen weights: every rank that holds them fills its own.
absl::Status ShardedAdamW::FillFrozen(std::vector<float>& piece, Fill fill) {
  Buffer memory;
  for (ArenaKind kind : kAllArenaKinds) {
    const int64_t size = table_.ArenaSize(kind);
    if (IsTrained(kind) || size == 0) continue;
    if (memory.data() == nullptr) {
      ASSIGN_OR_RETURN(memory,
                       AllocateState(kernels_.context(), kPieceElements));
    }
    const Tensor staged(memory.data(), {kPieceElements}, DType::kFloat32);
    for (int64_t begin = 0; begin < size; begin += kPieceElements) {
      const int64_t count = std::min(kPieceElements, size - begin);
      piece.resize(static_cast<size_t>(count));
      RETURN_IF_ERROR(fill(kind, begin, absl::MakeSpan(piece)));
      kernels_.context().Upload(staged.raw(), piece.data(),
                                count * SizeOf(DType::kFloat32));
      kernels_.Convert(weights_.arena(kind).Rows(begin, count),
                       staged.Rows(0, count));
      RETURN_IF_ERROR(kernels_.context().Synchronize());
    }
  }
  return absl::OkStatus();
}

// Each segment has a place of its own, and the places are added on the host in
// the segments' order.
absl::StatusOr<double> ShardedAdamW::SumOfSquares(
    const ParameterStorage& gradients) const {
  if (squares_.size() == 0) return 0.0;  // nothing is trained here
  int64_t place = 0;
  for (ArenaKind kind : kTrainedArenaKinds) {
    for (const ShardSegment& segment : arenas_[Index(kind)].segments) {
      kernels_.SumOfSquares(
          squares_.Rows(place++, 1),
          gradients.arena(kind).Rows(segment.arena_begin, segment.count));
    }
  }
  ASSIGN_OR_RETURN(HostCopy squares,
                   kernels_.context().StartCopy(squares_.View()));
  RETURN_IF_ERROR(squares.Wait());
  double sum = 0;
  for (double square : squares.values<double>()) sum += square;
  return sum;
}

absl::StatusOr<NonFiniteElement> ShardedAdamW::FirstNonFinite(
    const ParameterStorage& gradients) const {
  for (ArenaKind kind : kTrainedArenaKinds) {
    for (const ShardSegment& segment : arenas_[Index(kind)].segments) {
      const int64_t index = kernels_.FirstNonFinite(
          gradients.arena(kind).Rows(segment.arena_begin, segment.count));
      if (index < 0) continue;
      const int64_t element = segment.arena_begin + index;
      NonFiniteElement found;
      ForEachParameter(
          table_, kind, element, 1,
          [&](const Parameter& parameter, int64_t, int64_t, int64_t) {
            found.parameter =
                static_cast<int>(&parameter - table_.parameters().data());
          });
      ASSIGN_OR_RETURN(
          found.value,
          ReadElement(kernels_.context(), gradients.arena(kind), element));
      return found;
    }
  }
  return NonFiniteElement();
}

absl::Status ShardedAdamW::Step(const ParameterStorage& gradients,
                                double learning_rate, double gradient_scale,
                                int64_t update) {
  const AdamWOptions options{.learning_rate = learning_rate,
                             .beta1 = config_.beta1(),
                             .beta2 = config_.beta2(),
                             .epsilon = config_.epsilon(),
                             .weight_decay = config_.weight_decay(),
                             .gradient_scale = gradient_scale,
                             .update = update};
  for (ArenaKind kind : kTrainedArenaKinds) {
    for (const ShardSegment& segment : arenas_[Index(kind)].segments)
      UpdateSegment(kind, segment, gradients, options);
    RETURN_IF_ERROR(GatherCopies(kind));
  }
  while (!works_.empty()) RETURN_IF_ERROR(WaitForOldestCopy());
  return kernels_.status();
}

void ShardedAdamW::UpdateSegment(ArenaKind kind, const ShardSegment& segment,
                                 const ParameterStorage& gradients,
                                 AdamWOptions options) {
  const ArenaShard& arena = arenas_[Index(kind)];
  if (!segment.decay) options.weight_decay = 0;
  const Tensor master =
      Master(kind, segment.arena_begin, segment.shard_begin, segment.count);
  const Tensor copy =
      weights_.arena(kind).Rows(segment.arena_begin, segment.count);
  kernels_.AdamW(
      master, arena.first_moment.Rows(segment.shard_begin, segment.count),
      arena.second_moment.Rows(segment.shard_begin, segment.count),
      copy.raw() == master.raw() ? Tensor() : copy,
      gradients.arena(kind).Rows(segment.arena_begin, segment.count), options);
}

absl::Status ShardedAdamW::GatherCopies(ArenaKind kind) {
  ProcessGroup& group = groups_.device(ReductionAxis(kind));
  if (group.size() == 1) return absl::OkStatus();
  const MemoryView memory = weights_.arena(kind).View();
  for (int bucket = 0; bucket < Map(kind).num_buckets(); ++bucket) {
    const ShardMap::Range all = Map(kind).Bucket(bucket);
    const ShardMap::Range mine = Map(kind).Slice(bucket, group.rank());
    ASSIGN_OR_RETURN(std::unique_ptr<Work> work,
                     group.StartAllGather(memory.Slice(mine.begin, mine.count),
                                          memory.Slice(all.begin, all.count)));
    works_.push_back(std::move(work));
  }
  return absl::OkStatus();
}

absl::Status ShardedAdamW::WaitForOldestCopy() {
  RETURN_IF_ERROR(Annotate(works_.front()->Wait(), "exchange of new weights"));
  works_.pop_front();
  return absl::OkStatus();
}

void ShardedAdamW::ForEachOwned(OwnedVisitor visit) const {
  for (ArenaKind kind : kTrainedArenaKinds) {
    for (const ShardSegment& segment : arenas_[Index(kind)].segments) {
      ForEachParameter(
          table_, kind, segment.arena_begin, segment.count,
          [&](const Parameter& parameter, int64_t begin, int64_t,
              int64_t count) {
            visit({.parameter = parameter, .begin = begin, .count = count});
          });
    }
  }
}

Tensor ShardedAdamW::State(const OwnedRun& run, absl::string_view state) const {
  CHECK(run.parameter.trained);
  const ArenaShard& arena = arenas_[Index(run.parameter.arena)];
  const int64_t element = run.parameter.offset + run.begin;
  // The last segment that begins no later than the run.
  auto segment = std::upper_bound(
      arena.segments.begin(), arena.segments.end(), element,
      [](int64_t e, const ShardSegment& s) { return e < s.arena_begin; });
  CHECK(segment != arena.segments.begin());
  --segment;
  const int64_t in_segment = element - segment->arena_begin;
  CHECK(in_segment + run.count <= segment->count);
  CHECK(state == kFirstMoment || state == kSecondMoment);
  const Tensor& all =
      state == kFirstMoment ? arena.first_moment : arena.second_moment;
  return all.Rows(segment->shard_begin + in_segment, run.count);
}

absl::Status ShardedAdamW::CopyState(const OwnedRun& run,
                                     absl::string_view state,
                                     absl::Span<float> out) const {
  CHECK(static_cast<int64_t>(out.size()) == run.count);
  kernels_.context().Download(out.data(), State(run, state).raw(),
                              run.count * SizeOf(DType::kFloat32));
  return kernels_.context().Synchronize();
}

absl::Status ShardedAdamW::SetState(const OwnedRun& run,
                                    absl::string_view state,
                                    absl::Span<const float> values) {
  CHECK(static_cast<int64_t>(values.size()) == run.count);
  kernels_.context().Upload(State(run, state).raw(), values.data(),
                            run.count * SizeOf(DType::kFloat32));
  return absl::OkStatus();
}

absl::Status ShardedAdamW::WidenFrozen(ArenaKind kind, int64_t begin,
                                       absl::Span<float> out) const {
  const auto size = static_cast<int64_t>(out.size());
  std::vector<BFloat16> copies(out.size());
  kernels_.context().Download(copies.data(),
                              weights_.arena(kind).Rows(begin, size).raw(),
                              size * SizeOf(DType::kBFloat16));
  RETURN_IF_ERROR(kernels_.context().Synchronize());
  std::transform(copies.begin(), copies.end(), out.begin(),
                 [](BFloat16 copy) { return ToFloat(copy); });
  return absl::OkStatus();
}

absl::Status ShardedAdamW::Gather(ArenaKind kind, int64_t begin,
                                  absl::Span<float> out) {
  const auto download = [&](absl::Span<float> to, const Tensor& from) {
    kernels_.context().Download(to.data(), from.raw(),
                                from.size() * SizeOf(DType::kFloat32));
    return kernels_.context().Synchronize();
  };
  if (table_.ArenaDType(kind) == DType::kFloat32) {
    // The gathered copies are the masters: every rank has them already.
    const auto size = static_cast<int64_t>(out.size());
    return download(out, weights_.arena(kind).Rows(begin, size));
  }
  if (!IsTrained(kind)) return WidenFrozen(kind, begin, out);
  // Masters leave their owner's device once and travel from host to host, where
  // they are wanted; the device needs no room for those of others.
  ProcessGroup& group = Group(kind);
  const ShardMap& map = Map(kind);
  const int64_t end = begin + static_cast<int64_t>(out.size());
  for (int bucket = 0; bucket < map.num_buckets(); ++bucket) {
    const ShardMap::Range all = map.Bucket(bucket);
    if (all.begin >= end || all.begin + all.count <= begin) continue;
    for (int owner = 0; owner < map.num_owners(); ++owner) {
      const ShardMap::Range slice = map.Slice(bucket, owner);
      const int64_t from = std::max(begin, slice.begin);
      const int64_t to = std::min(end, slice.begin + slice.count);
      if (from >= to) continue;
      const absl::Span<float> part = out.subspan(
          static_cast<size_t>(from - begin), static_cast<size_t>(to - from));
      if (owner == group.rank()) {
        const Tensor master =
            Master(kind, from, map.ShardOffset(bucket) + from - slice.begin,
                   to - from);
        RETURN_IF_ERROR(download(part, master));
      }
      RETURN_IF_ERROR(Annotate(group.Broadcast(ViewOf(part), owner),
                               "gathering master weights"));
    }
  }
  return absl::OkStatus();
}

}  // namespace moe
