#include "trainer/report/failure_report.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "nlohmann/json.hpp"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/store/batch_file.h"
#include "trainer/config/batch_plan.h"

namespace moe {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kBatchFile[] = "batch.safetensors";

Json IndexOrNull(int index) { return index < 0 ? Json() : Json(index); }

Json TensorJson(const std::optional<NonFiniteTensor>& at) {
  if (!at.has_value()) return nullptr;
  return {{"tensor", at->tensor},
          {"parameter", at->parameter.empty() ? Json() : Json(at->parameter)},
          {"layer", IndexOrNull(at->layer)},
          {"expert", IndexOrNull(at->expert)},
          {"value", at->value},
          {"rank", at->rank},
          {"host", at->host}};
}

// Of what one micro-step made.
Json TimedTensorJson(const std::optional<NonFiniteTensor>& at) {
  Json json = TensorJson(at);
  if (at.has_value()) json["micro_step"] = at->micro_step + 1;
  return json;
}

// Of the step's sequences in `range`.
Json SamplesJson(const Failure& failure, BatchPlan::Range range) {
  Json samples = Json::array();
  for (int64_t i = range.begin; i < range.begin + range.count; ++i)
    samples.push_back(failure.samples.SampleAt(failure.consumed_samples + i));
  return samples;
}

}  // namespace

std::string FailureJson(const Failure& failure) {
  const NonFinite& what = failure.what;
  const BatchConfig& batch = failure.config.batch();
  Json json = {{"message", std::string(failure.message)},
               {"step", what.step},
               {"consumed_samples", failure.consumed_samples},
               {"skipped_steps", failure.skipped_steps},
               {"not_finite", what.in_loss ? "loss" : "gradient"},
               {"first", TimedTensorJson(what.first)},
               {"gradient", TimedTensorJson(what.gradient)},
               {"sum", TensorJson(what.sum)},
               {"weights", TensorJson(what.weights)},
               {"samples", SamplesJson(failure, {0, batch.global_size()})}};
  if (what.first.has_value()) {
    const BatchPlan plan(batch.global_size(), batch.micro_size(),
                         failure.mesh.data());
    json["samples_of_first"] = SamplesJson(
        failure,
        plan.OfMicroStep(failure.mesh.Index(Axis::kData, what.first->rank),
                         what.first->micro_step));
  }
  json["batch"] = kBatchFile;
  json["state"] = StepDirectoryName(what.step - 1);
  return json.dump(2, ' ', /*ensure_ascii=*/false,
                   Json::error_handler_t::replace) +
         "\n";
}

absl::Status SaveFailure(FileSystem& files, const std::string& directory,
                         const Failure& failure) {
  RETURN_IF_ERROR(files.MakeDirectories(directory));
  RETURN_IF_ERROR(WriteFileAtomically(files, JoinPath(directory, "report.txt"),
                                      absl::StrCat(failure.message, "\n")));
  RETURN_IF_ERROR(WriteFileAtomically(files, JoinPath(directory, "report.json"),
                                      FailureJson(failure)));
  return WriteBatches(files, JoinPath(directory, kBatchFile), failure.samples,
                      {.first_sample = failure.consumed_samples,
                       .num_steps = 1,
                       .global_size = failure.config.batch().global_size(),
                       .length = failure.config.batch().sequence_length()});
}

}  // namespace moe
