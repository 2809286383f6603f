#include "trainer/checkpoint/store/weight_values.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "moe/model_config.h"
#include "trainer/checkpoint/store/stored_checkpoint.h"

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
      absl::StrCat(loader.directory(), ": ",
                   FirstNotFiniteText(parameter.name, value, first)));
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

// What a position advances the angle of pair `i` of a head's dims by.
double Frequency(const ModelConfig& model, int64_t i) {
  return std::pow(model.rope_theta(), -2.0 * static_cast<double>(i) /
                                          static_cast<double>(HeadDim(model)));
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
    const double computed = Frequency(model, i);
    const float value = stored[static_cast<size_t>(i)];
    if (IsNear(value, computed)) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        loader.directory(), ": ", name, " holds ", value, " at element ", i,
        ", rope_theta (", model.rope_theta(), ") gives ", computed));
  }
  return absl::OkStatus();
}

// A writer's float32 angle of a late position is off by some 2^-22 of it.
bool IsNearOnCircle(float stored, double computed, int64_t position) {
  return std::abs(stored - computed) <=
         0.01 + 1e-6 * static_cast<double>(position);
}

// The cosines or sines of all positions: [..., positions, width of a head],
// whose second half is the first again, or half the width.
absl::Status CheckCircle(const WeightsLoader& loader, const std::string& name,
                         const ModelConfig& model, int share, int num_shares) {
  const int64_t half = HeadDim(model) / 2;
  const std::vector<uint64_t>& shape = loader.ShapeOf(name);
  const int64_t columns =
      shape.empty() ? 0 : static_cast<int64_t>(shape.back());
  if (columns != half && columns != 2 * half) {
    return absl::FailedPreconditionError(absl::StrCat(
        loader.directory(), ": ", name, " has ", columns,
        " columns, must have ", 2 * half, ", the width of a head, or half"));
  }
  std::vector<double> frequencies;
  for (int64_t i = 0; i < half; ++i) frequencies.push_back(Frequency(model, i));
  const bool cosines = absl::EndsWith(name, kCosinesEnd);
  const Range range = ShareOf(loader.NumElements(name), share, num_shares);
  int64_t element = range.begin;
  return ReadInPieces(
      range.size,
      [&](int64_t begin, absl::Span<float> out) {
        return loader.LoadParameter(name, range.begin + begin, out);
      },
      [&](absl::Span<const float> piece) -> absl::Status {
        for (const float value : piece) {
          const int64_t position = element / columns;
          const double angle =
              static_cast<double>(position) *
              frequencies[static_cast<size_t>(element % columns % half)];
          const double computed = cosines ? std::cos(angle) : std::sin(angle);
          if (!IsNearOnCircle(value, computed, position)) {
            return absl::FailedPreconditionError(
                absl::StrCat(loader.directory(), ": ", name, " holds ", value,
                             " at element ", element, ", rope_theta (",
                             model.rope_theta(), ") gives ", computed));
          }
          ++element;
        }
        return absl::OkStatus();
      });
}

}  // namespace

std::string FirstNotFiniteText(absl::string_view name, float value,
                               int64_t element) {
  return absl::StrCat(name, " holds values that are not finite, the first (",
                      value, ") at element ", element);
}

absl::Status CheckSpareTensors(const WeightsLoader& loader,
                               const ModelConfig& model, int share,
                               int num_shares) {
  for (const std::string& name : loader.PassedOver()) {
    RETURN_IF_ERROR(absl::EndsWith(name, kFrequenciesEnd)
                        ? CheckFrequencies(loader, name, model)
                        : CheckCircle(loader, name, model, share, num_shares));
  }
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
