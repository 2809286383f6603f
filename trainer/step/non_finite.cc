#include "trainer/step/non_finite.h"

#include "absl/strings/str_cat.h"

namespace moe {
namespace {

// "the output of expert 5 in layer 3"
std::string Place(const NonFiniteTensor& at) {
  std::string text = absl::StrCat("the ", at.tensor);
  if (!at.parameter.empty()) return absl::StrCat(text, " of ", at.parameter);
  if (at.expert >= 0) absl::StrAppend(&text, " of expert ", at.expert);
  if (at.layer >= 0) absl::StrAppend(&text, " in layer ", at.layer);
  return text;
}

std::string Rank(const NonFiniteTensor& at) {
  return absl::StrCat(" on rank ", at.rank, " (", at.host, ")");
}

std::string First(const NonFinite& what) {
  if (what.first.has_value()) {
    const NonFiniteTensor& first = *what.first;
    return absl::StrCat("the first such value, ", first.value, ", is in ",
                        Place(first), Rank(first), " in micro-step ",
                        first.micro_step + 1);
  }
  constexpr char kFiniteAgain[] =
      "computed again, all that one rank adds to it is finite";
  if (!what.sum.has_value()) return kFiniteAgain;
  return absl::StrCat(kFiniteAgain, ", but the sum over ranks had ",
                      what.sum->value, " in ", Place(*what.sum),
                      Rank(*what.sum));
}

}  // namespace

std::string Describe(const NonFinite& what) {
  std::string text =
      absl::StrCat(what.in_loss ? "the loss" : "the gradient", " of step ",
                   what.step, " is not finite: ", First(what));
  const std::optional<NonFiniteTensor>& gradient = what.gradient;
  if (gradient.has_value() && what.first->parameter != gradient->parameter) {
    absl::StrAppend(&text, "; among parameters, first in ", Place(*gradient),
                    Rank(*gradient));
  }
  if (what.weights.has_value()) {
    absl::StrAppend(&text, "; ", what.weights->parameter, " itself holds ",
                    what.weights->value, Rank(*what.weights));
  }
  return text;
}

}  // namespace moe
