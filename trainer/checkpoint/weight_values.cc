#include "trainer/checkpoint/weight_values.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "comm/status_macros.h"
#include "moe/model_config.h"
#include "trainer/checkpoint/stored_checkpoint.h"

namespace moe {
namespace {

// A share of `size` elements, some of which may have none.
struct Range {
  int64_t begin = 0;
  int64_t size = 0;
};
Range ShareOf(int64_t size, int share, int num_shares) {
  const int64_t most = (size - 1) / num_shares + 1;
  const int64_t begin = std::min(size, most * share);
  return {begin, std::min(size, begin + most) - begin};
}

absl::Status CheckFinite(const WeightsLoader& loader,
                         const Parameter& parameter, const Range& range) {
  ASSIGN_OR_RETURN(
      const ElementsScan scan,
      ScanElements(range.size, [&](int64_t begin, absl::Span<float> out) {
        return loader.LoadParameter(parameter.name, range.begin + begin, out);
      }));
  if (scan.num_not_finite == 0) return absl::OkStatus();
  const int64_t first = range.begin + scan.first_not_finite;
  float value = 0;
  RETURN_IF_ERROR(
      loader.LoadParameter(parameter.name, first, absl::MakeSpan(&value, 1)));
  return absl::DataLossError(
      absl::StrCat(loader.directory(), ": ", parameter.name,
                   " holds values that are not finite, the first (", value,
                   ") at element ", first));
}

absl::Status CheckHead(const WeightsLoader& loader, const Range& range) {
  int64_t done = range.begin;
  std::vector<float> embedding;
  return ReadInPieces(
      range.size,
      [&](int64_t begin, absl::Span<float> out) {
        return loader.LoadParameter(kHeadName, range.begin + begin, out);
      },
      [&](absl::Span<const float> head) -> absl::Status {
        embedding.resize(head.size());
        RETURN_IF_ERROR(loader.LoadParameter(kEmbeddingName, done,
                                             absl::MakeSpan(embedding)));
        for (size_t i = 0; i < head.size(); ++i, ++done) {
          if (head[i] == embedding[i]) continue;
          return absl::FailedPreconditionError(absl::StrCat(
              loader.directory(), ": ", kHeadName, " differs from ",
              kEmbeddingName, " (element ", done, " is ", head[i], ", not ",
              embedding[i],
              "), but tie_word_embeddings is true, so that it is not used"));
        }
        return absl::OkStatus();
      });
}

// Writers that rounded to bfloat16 are within a 256th.
bool IsNear(float stored, double computed) {
  return std::abs(stored - computed) <= 0.01 * computed;
}

absl::Status CheckFrequencies(const WeightsLoader& loader,
                              const std::string& name,
                              const ModelConfig& model) {
  const int64_t width = HeadDim(model);
  std::vector<float> stored(static_cast<size_t>(width / 2));
  if (loader.NumElements(name) != width / 2) {
    return absl::FailedPreconditionError(absl::StrCat(
        loader.directory(), ": ", name, " has ", loader.NumElements(name),
        " elements, must have ", width / 2, ", half the width of a head"));
  }
  RETURN_IF_ERROR(loader.LoadParameter(name, 0, absl::MakeSpan(stored)));
  for (int64_t i = 0; i < width / 2; ++i) {
    const double computed =
        std::pow(model.rope_theta(),
                 -2.0 * static_cast<double>(i) / static_cast<double>(width));
    const float value = stored[static_cast<size_t>(i)];
    if (IsNear(value, computed)) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        loader.directory(), ": ", name, " holds ", value, " at element ", i,
        ", rope_theta (", model.rope_theta(), ") gives ", computed));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckSpareTensors(const WeightsLoader& loader,
                               const ModelConfig& model, int share,
                               int num_shares) {
  for (const std::string& name : loader.PassedOver())
    if (absl::EndsWith(name, "inv_freq"))
      RETURN_IF_ERROR(CheckFrequencies(loader, name, model));
  if (!loader.HasSpareHead(WholeTable(model))) return absl::OkStatus();
  return CheckHead(loader,
                   ShareOf(loader.NumElements(kHeadName), share, num_shares));
}

absl::Status CheckWeightValues(const WeightsLoader& loader,
                               const ModelConfig& model, int share,
                               int num_shares) {
  const ParameterTable table = WholeTable(model);
  for (const Parameter& parameter : table.parameters()) {
    RETURN_IF_ERROR(CheckFinite(loader, parameter,
                                ShareOf(parameter.size, share, num_shares)));
  }
  return CheckSpareTensors(loader, model, share, num_shares);
}

}  // namespace moe
