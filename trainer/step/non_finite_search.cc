#include "trainer/step/non_finite_search.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "comm/base/status_macros.h"
#include "comm/mpi/roster.h"
#include "trainer/step/read_element.h"

namespace moe {
namespace {

std::string ValueText(double value) {
  if (std::isnan(value)) return "nan";
  return value > 0 ? "inf" : "-inf";
}

}  // namespace

void NonFiniteSearch::LookAtSum(const NonFiniteElement& element) {
  if (element.parameter < 0) return;
  found_.sum =
      OfParameter(element.parameter, element.value, {0, 0, element.parameter});
}

absl::Status NonFiniteSearch::LookAtWeights(const ParameterStorage& weights) {
  for (size_t i = 0; i < table_.parameters().size(); ++i) {
    const Parameter& parameter = table_.parameters()[i];
    if (!parameter.local) continue;
    const Tensor values = weights.Get(parameter);
    const int64_t element = kernels_.FirstNonFinite(values);
    if (element < 0) continue;
    const int index = static_cast<int>(i);
    ASSIGN_OR_RETURN(const float value,
                     ReadElement(kernels_.context(), values, element));
    found_.weights = OfParameter(index, value, {0, 0, index});
    break;
  }
  return absl::OkStatus();
}

void NonFiniteSearch::BeginMicroStep(int micro_step) {
  micro_step_ = micro_step;
  num_ranges_ = 0;
}

void NonFiniteSearch::Observe(TensorKind kind, int layer, int local_expert,
                              const Tensor& tensor) {
  if (found_.first.order != kNever) return;
  const int64_t element = kernels_.FirstNonFinite(tensor);
  if (element < 0) return;
  const absl::StatusOr<float> value =
      ReadElement(kernels_.context(), tensor, element);
  read_.Update(value.status());
  // The residual stream's gradient comes last of the range just completed.
  const bool is_gradient = IsGradient(kind);
  found_.first = {
      .order = {micro_step_,
                is_gradient ? BackwardStage(num_ranges_ - 1)
                            : ForwardStage(kind, layer),
                is_gradient ? kLast : 0},
      .kind = static_cast<int64_t>(kind),
      .layer = layer,
      .expert = local_expert < 0 ? -1 : table_.first_expert() + local_expert,
      .value = value.ok() ? *value : 0};
}

void NonFiniteSearch::LookAtLosses(const LossTerms& losses) {
  const auto look = [this](TensorKind kind, double loss) {
    if (found_.first.order != kNever || std::isfinite(loss)) return;
    found_.first = {.order = {micro_step_, ForwardStage(kind, -1), 0},
                    .kind = static_cast<int64_t>(kind),
                    .value = loss};
  };
  look(TensorKind::kCrossEntropy, losses.cross_entropy);
  look(TensorKind::kAuxLoss, losses.aux);
  look(TensorKind::kZLoss, losses.z);
}

// Backward goes through a range from its end; its experts work side by side.
absl::Status NonFiniteSearch::GradientsReady(ParameterRange range) {
  const int64_t stage = BackwardStage(num_ranges_++);
  if (found_.gradient.order != kNever) return absl::OkStatus();
  for (int i = range.end - 1; i >= range.begin; --i) {
    const Parameter& parameter = table_.parameters()[static_cast<size_t>(i)];
    if (!parameter.local || !parameter.trained) continue;
    const Tensor gradient = gradients_.Get(parameter);
    const int64_t element = kernels_.FirstNonFinite(gradient);
    if (element < 0) continue;
    ASSIGN_OR_RETURN(const float value,
                     ReadElement(kernels_.context(), gradient, element));
    const int64_t place = parameter.expert >= 0 ? 0 : range.end - i;
    found_.gradient = OfParameter(i, value, {micro_step_, stage, place});
    if (found_.first.order == kNever) found_.first = found_.gradient;
    break;
  }
  return absl::OkStatus();
}

absl::StatusOr<NonFinite> NonFiniteSearch::Agree(ProcessGroup& world) const {
  RETURN_IF_ERROR(read_);
  static_assert(sizeof(Found) % sizeof(int64_t) == 0);
  constexpr int64_t kWords = sizeof(Found) / sizeof(int64_t);
  Found mine = found_;
  ThisMember().host.copy(mine.host, Found::kMaxHost - 1);
  std::vector<Found> all(static_cast<size_t>(world.size()));
  RETURN_IF_ERROR(Annotate(
      world.AllGather({&mine, kWords, DType::kInt64},
                      {all.data(), kWords * world.size(), DType::kInt64}),
      "what each rank found not finite"));
  NonFinite answer;
  answer.first = Earliest(all, &Found::first, "gradient");
  answer.gradient = Earliest(all, &Found::gradient, "gradient");
  answer.sum = Earliest(all, &Found::sum, "gradient");
  answer.weights = Earliest(all, &Found::weights, "weights");
  return answer;
}

int64_t NonFiniteSearch::ForwardStage(TensorKind kind, int layer) const {
  const int part = kind < TensorKind::kFinalNorm ? layer + 1 : num_layers() + 1;
  return part * kNumTensorKinds + static_cast<int64_t>(kind);
}

int64_t NonFiniteSearch::BackwardStage(int64_t num_ranges) const {
  return ForwardStage(TensorKind::kZLoss, -1) + 1 + num_ranges;
}

NonFiniteSearch::Sighting NonFiniteSearch::OfParameter(int index, double value,
                                                       Order order) const {
  return {.order = order,
          .layer = table_.parameters()[static_cast<size_t>(index)].layer,
          .expert = table_.parameters()[static_cast<size_t>(index)].expert,
          .parameter = index,
          .value = value};
}

std::optional<NonFiniteTensor> NonFiniteSearch::Earliest(
    absl::Span<const Found> all, Sighting Found::*which,
    absl::string_view of_parameter) const {
  // The lowest rank of several with the same.
  const auto earliest = std::min_element(
      all.begin(), all.end(), [which](const Found& a, const Found& b) {
        return (a.*which).order < (b.*which).order;
      });
  const Sighting& sighting = (*earliest).*which;
  if (sighting.order == kNever) return std::nullopt;
  const bool is_parameter = sighting.parameter >= 0;
  return NonFiniteTensor{
      .tensor = std::string(is_parameter
                                ? of_parameter
                                : Name(static_cast<TensorKind>(sighting.kind))),
      .parameter =
          is_parameter
              ? table_.parameters()[static_cast<size_t>(sighting.parameter)]
                    .name
              : "",
      .layer = static_cast<int>(sighting.layer),
      .expert = static_cast<int>(sighting.expert),
      .value = ValueText(sighting.value),
      .rank = static_cast<int>(earliest - all.begin()),
      .host = earliest->host,
      .micro_step = static_cast<int>(sighting.order[0])};
}

}  // namespace moe
