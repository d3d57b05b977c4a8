/* Components of the OpenAPI document for answers, which no decoding table describes. */
#include "api/legacy/app.h"

#define TEXT "{\"type\":\"string\"}"
#define TEXT_OR_NULL "{\"type\":[\"string\",\"null\"]}"
#define TIME "{\"type\":\"string\",\"format\":\"date-time\"}"
#define TIME_OR_NULL "{\"type\":[\"string\",\"null\"],\"format\":\"date-time\"}"
#define INTEGER "{\"type\":\"integer\"}"
#define REF(name) "{\"$ref\":\"#/components/schemas/" name "\"}"
#define NULLABLE(name) "{\"anyOf\":[" REF(name) ",{\"type\":\"null\"}]}"

const struct openapi_component legacy_components[] = {
    {"ConversationError", "{\"type\":\"object\",\"properties\":{\"status\":" TEXT ",\"conversation_id\":" TEXT
                          ",\"message\":" TEXT ",\"msg_id\":" TEXT "},\"required\":[\"status\"]}"},
    {"ConversationInfo",
     "{\"type\":\"object\",\"properties\":{\"conversation_id\":" TEXT ",\"title\":" TEXT
     ",\"last_updated_at\":" TIME_OR_NULL
     ",\"status\":" REF("ConversationStatus") ",\"runtime_status\":" NULLABLE(
         "RuntimeStatus") ",\"selected_repository\":" TEXT_OR_NULL ",\"selected_branch\":" TEXT_OR_NULL
                          ",\"git_provider\":" NULLABLE("ProviderType") ",\"trigger\":" NULLABLE(
                              "ConversationTrigger") ",\"num_connections\":" INTEGER ",\"url\":" TEXT_OR_NULL
                                                     ",\"session_api_key\":" TEXT_OR_NULL
                                                     ",\"created_at\":" TIME
                                                     ",\"pr_number\":{\"type\":\"array\",\"items\":" INTEGER
                                                     "}},\"required\":[\"conversation_id\",\"title\"]}"},
    {"ConversationInfoResultSet",
     "{\"type\":\"object\",\"properties\":{\"results\":{\"type\":\"array\",\"items\":" REF(
         "ConversationInfo") "},\"next_page_id\":" TEXT_OR_NULL "}}"},
    {"ConversationResponse",
     "{\"type\":\"object\",\"properties\":{\"status\":" TEXT ",\"conversation_id\":" TEXT
     ",\"message\":" TEXT_OR_NULL ",\"conversation_status\":" NULLABLE(
         "ConversationStatus") "},\"required\":[\"status\",\"conversation_id\"]}"},
    {"ConversationStatus", "{\"type\":\"string\",\"enum\":[\"STARTING\",\"RUNNING\",\"STOPPED\"]}"},
    {"ConversationTrigger",
     "{\"type\":\"string\",\"enum\":[\"resolver\",\"gui\",\"suggested_task\",\"openhands_api\",\"slack\","
     "\"microagent_management\",\"jira\",\"jira_dc\",\"linear\"]}"},
    {"POSTUploadFilesModel",
     "{\"type\":\"object\",\"properties\":{\"uploaded_files\":{\"type\":\"array\",\"items\":" TEXT
     "},\"skipped_files\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"name\":" TEXT
     ",\"reason\":" TEXT
     "},\"required\":[\"name\",\"reason\"]}}},\"required\":[\"uploaded_files\",\"skipped_files\"]}"},
    {"ProviderType",
     "{\"type\":\"string\",\"enum\":[\"github\",\"gitlab\",\"bitbucket\",\"enterprise_sso\"]}"},
    {"RuntimeStatus", "{\"type\":\"string\",\"enum\":[\"STATUS$STOPPED\",\"STATUS$BUILDING_RUNTIME\","
                      "\"STATUS$STARTING_RUNTIME\",\"STATUS$RUNTIME_STARTED\","
                      "\"STATUS$SETTING_UP_WORKSPACE\",\"STATUS$SETTING_UP_GIT_HOOKS\",\"STATUS$READY\","
                      "\"STATUS$ERROR\",\"STATUS$ERROR_RUNTIME_DISCONNECTED\","
                      "\"STATUS$ERROR_LLM_AUTHENTICATION\",\"STATUS$ERROR_LLM_SERVICE_UNAVAILABLE\","
                      "\"STATUS$ERROR_LLM_INTERNAL_SERVER_ERROR\",\"STATUS$ERROR_LLM_OUT_OF_CREDITS\","
                      "\"STATUS$ERROR_LLM_CONTENT_POLICY_VIOLATION\","
                      "\"CHAT_INTERFACE$AGENT_RATE_LIMITED_STOPPED_MESSAGE\","
                      "\"STATUS$GIT_PROVIDER_AUTHENTICATION_ERROR\",\"STATUS$LLM_RETRY\","
                      "\"STATUS$ERROR_MEMORY\"]}"},
    {0},
};
